"""Two calls of a network in one, where that gives what two would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from .norms import BatchNorm

_apart: ContextVar[bool] = ContextVar("apart", default=False)


def together(network: nn.Module, *batches: Tensor) -> tuple[Tensor, ...]:
    """What the network makes of each batch (n, c, h, w): in one call, where no image feels another.

    That is so where batch norm is not in training and dropout is off: then every image has the same
    result in any company. Elsewhere, and where sizes differ, it is one call after another. Images
    in half precision are widened to join those in full, which loses nothing.
    """
    if _apart.get() or not _alike(batches) or any(map(_mixes, network.modules())):
        return tuple(network(batch) for batch in batches)
    made: Tensor = network(torch.cat(batches))
    return torch.split(made, [len(batch) for batch in batches])


@contextmanager
def separately(on: bool = True) -> Iterator[None]:
    """Within, `together` makes a call for each batch."""
    token = _apart.set(on)
    try:
        yield
    finally:
        _apart.reset(token)


def _alike(batches: tuple[Tensor, ...]) -> bool:
    return len({(batch.shape[1:], batch.device) for batch in batches}) == 1


def _mixes(layer: nn.Module) -> bool:
    """Whether a layer lets images feel each other, or draws random numbers in turn."""
    if isinstance(layer, BatchNorm):
        return layer.training
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):  # whoever brings torch's own
        return layer.training or not layer.track_running_stats
    return isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training and layer.p > 0
