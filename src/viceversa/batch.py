"""A batch of images of both domains."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from .directions import Direction


class Batch(NamedTuple):
    """Images of both domains, (n, channels, h, w) in [-1, 1]; pairs if the method is paired.

    Domain `a` is the source. A weight is (n, 1, h, w) in [0, 1], 0 where an image has no data; None
    means 1 everywhere. In a pair, a pixel without data in one image has weight 0 in both.
    """

    a: Tensor
    b: Tensor
    weight_a: Tensor | None = None
    weight_b: Tensor | None = None
    fill_a: float = -1.0
    """Value of `a` where its weight is 0."""
    fill_b: float = -1.0
    """Value of `b` where its weight is 0."""
    progress: Tensor | float = 0.0
    """Completed fraction of the training, a scalar in [0, 1), constant within an epoch."""

    def of(self, direction: Direction) -> tuple[Tensor, Tensor]:
        """Return source and target images of a direction."""
        return (self.a, self.b) if direction == "ab" else (self.b, self.a)

    @property
    def tensors(self) -> list[Tensor]:
        """The images, and the weights and the progress if they are tensors."""
        return [one for one in self if isinstance(one, Tensor)]

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with a function applied to every tensor."""
        changed = (function(one) if isinstance(one, Tensor) else one for one in self)
        return Batch._make(changed)
