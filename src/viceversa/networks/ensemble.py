"""Several generators as one: the mean of their outputs, also for mirrored images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .sizes import multiple_of, smallest_of

MAX_MEMBERS = 64


class Ensemble(nn.Module):
    """Mean of generators of the same domains.

    Args:
        members: The generators.
        mirrored: Axes of test-time augmentation (3: left to right, 2: top to bottom). Each member
            also translates the image mirrored along each axis and along all of them; the outputs
            are mirrored back.
    """

    def __init__(self, members: Sequence[nn.Module], mirrored: Sequence[int] = ()):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.mirrored = tuple(mirrored)
        self.multiple = math.lcm(*map(multiple_of, members))
        self.smallest = max(map(smallest_of, members))

    def outputs(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the output of each member for each mirrored image."""
        axes: list[tuple[int, ...]] = [()]
        for axis in self.mirrored:
            axes += [(*others, axis) for others in axes]
        for member in self.members:
            for flipped in axes:
                yield member(x.flip(flipped)).flip(flipped) if flipped else member(x)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(list(self.outputs(x))).mean(dim=0)


class WithSpread(nn.Module):
    """An ensemble with one more output channel: the spread of its outputs.

    The spread is the standard deviation over the outputs, averaged over channels, in units of
    [-1, 1]: from 0, where all agree, to 1.
    """

    def __init__(self, ensemble: Ensemble):
        super().__init__()
        self.ensemble = ensemble
        self.multiple, self.smallest = ensemble.multiple, ensemble.smallest

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.stack(list(self.ensemble.outputs(x))).float()
        deviation = outputs.std(dim=0, correction=0).mean(dim=1, keepdim=True)
        return torch.cat([outputs.mean(dim=0), deviation], dim=1)
