"""Dropout at inference with a random generator per thread.

torch's dropout uses the global generator, which all threads share.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

_generator: ContextVar[torch.Generator | None] = ContextVar("generator", default=None)


class SeededDropout(nn.Dropout):
    """Dropout whose masks come from the `seeded` context of the calling thread.

    A mask is drawn on the CPU, so that it is the same on every device.
    """

    def forward(self, x: Tensor) -> Tensor:
        generator = _generator.get()
        if generator is None or not self.training:
            return super().forward(x)
        kept = torch.rand(x.shape, generator=generator) >= self.p
        return x * (kept.to(x) / max(1 - self.p, 1e-12))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let `SeededDropout` use a new generator with this seed, in this thread only."""
    token = _generator.set(torch.Generator().manual_seed(seed))
    try:
        yield
    finally:
        _generator.reset(token)


def seed_dropout(network: nn.Module) -> None:
    """Replace the dropout layers of a network by `SeededDropout`."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, SeededDropout(child.p))
