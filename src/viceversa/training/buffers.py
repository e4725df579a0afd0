"""Buffers of a method in a step whose images do not count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from ..networks.spectral import singular_vectors


@contextmanager
def buffers_unchanged(method: nn.Module) -> Iterator[None]:
    """Restore image pools and batch norm statistics at the end.

    The singular vectors of a spectral norm do not depend on images: they stay the same everywhere.
    """
    before = {name: buffer.clone() for name, buffer in method.named_buffers()}
    yield
    kept = set(map(id, singular_vectors(method)))
    for name, buffer in method.named_buffers():
        if id(buffer) not in kept and buffer.shape == before[name].shape:
            buffer.copy_(before[name])
