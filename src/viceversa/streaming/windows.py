"""Norms whose statistics depend on the position: those of windows around each pixel.

Windows cover the image without gaps, and the network translates each window alone, like a crop in
training. At a pixel, a norm uses the statistics of the four nearest windows together, with bilinear
weights. At the centre of a window these are the statistics of this window, and in between they
change gradually, so there are no seams. With them, a network needs one pass and no files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..fields import counted
from .graph import Node, maps
from .operations import Operation, Shape
from .sampling import SampledNorms, forward
from .statistics import Moments, Pointwise, deviation, of_channels, with_statistics

TOGETHER = 8  # rows that are normalized at once


class WindowAxis(NamedTuple):
    """Positions of the windows along one axis of an image."""

    length: int
    """Height or width of the image."""
    starts: list[int]
    centres: list[float]

    @classmethod
    def of(cls, length: int, side: int) -> WindowAxis:
        """Return evenly spaced windows that cover the axis."""
        count = math.ceil(length / side)
        starts = [(length - side) * i // max(1, count - 1) for i in range(count)]
        return cls(length, starts, [start + side / 2 for start in starts])

    def positions(self, length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return the window before and after each pixel of a map, and the weight of the latter.

        Args:
            length: Height or width of the map.
            device: Device of the result.
        """
        pixels = (np.arange(length) + 0.5) * (self.length / length)
        found = np.interp(pixels, self.centres, np.arange(len(self.centres)))
        before = np.floor(found).astype(np.int64)
        after = np.minimum(before + 1, len(self.centres) - 1)
        weights = (found - before).astype(np.float32)
        first, second, weight = (
            torch.from_numpy(one).to(device) for one in (before, after, weights)
        )
        return first, second, weight


class WindowNorm(Operation):
    """A norm with the statistics of windows.

    Args:
        layer: The norm.
        shape: Shape of its input for the whole image.
        axes: Positions of the windows along the height and the width of the image.
        device: Device of the rows.
    """

    def __init__(
        self,
        layer: nn.Module,
        shape: Shape,
        axes: tuple[WindowAxis, WindowAxis],
        device: torch.device,
    ) -> None:
        super().__init__(shape, shape)
        self.layer = layer
        grid = shape[0], len(axes[0].starts), len(axes[1].starts)
        self.mean, self.variance = (torch.empty(grid, device=device) for _ in range(2))
        self.row, self.column = (
            axis.positions(length, device) for axis, length in zip(axes, shape[1:], strict=True)
        )

    @property
    def bytes(self) -> int:
        """Size of the statistics."""
        return 2 * 4 * self.mean.numel()

    def measure(self, row: int, column: int, before: Tensor) -> Pointwise:
        """Store the statistics of a window from the norm's input; return the norm with them."""
        moments = Moments(before.shape[1])
        moments.add(before)
        self.mean[:, row, column], self.variance[:, row, column] = of_channels(self.layer, moments)
        return with_statistics(self.layer, moments, before.device)

    def needs(self, start: int, end: int) -> tuple[int, int]:
        return start, end

    def rows(self, rows: Tensor, first: int, start: int, end: int) -> Tensor:
        output = torch.empty_like(rows[:, :, start - first : end - first])
        for low in range(start, end, TOGETHER):  # statistics of few pixels need little memory
            high = min(low + TOGETHER, end)
            part = rows[:, :, low - first : high - first]
            output[:, :, low - start : high - start] = self._normalized(part, low, high)
        return output

    def _normalized(self, rows: Tensor, start: int, end: int) -> Tensor:
        mean, variance = self._statistics(start, end)
        output = (rows - mean) / deviation(self.layer, variance)
        weight, bias = self.layer.weight, self.layer.bias
        if isinstance(weight, Tensor):
            output = output * weight[:, None, None]
        return output + bias[:, None, None] if isinstance(bias, Tensor) else output

    def _statistics(self, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Return mean and variance at rows of the map, (channels, rows, width)."""
        above, below, weight = (one[start:end] for one in self.row)
        mean, variance = _together(
            (self.mean[:, above], self.variance[:, above]),
            (self.mean[:, below], self.variance[:, below]),
            weight[:, None],
        )
        left, right, weight = self.column
        return _together(
            (mean[:, :, left], variance[:, :, left]),
            (mean[:, :, right], variance[:, :, right]),
            weight,
        )


def _together(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Return mean and variance of two distributions together.

    Args:
        first: Its mean and variance.
        second: Its mean and variance.
        weight: Share of the second one, from 0 to 1.
    """
    between = weight * (1 - weight) * (second[0] - first[0]) ** 2
    return first[0].lerp(second[0], weight), first[1].lerp(second[1], weight) + between


class Windows:
    """Windows of images of one size, and norms with their statistics.

    Args:
        network: The network, in eval mode.
        shape: (channels, height, width) of the images.
        sides: Height and width of the windows, which the network supports; at most the image's.

    Raises:
        Unknown: See `maps`.
    """

    def __init__(self, network: nn.Module, shape: Shape, sides: tuple[int, int]) -> None:
        self.sides = sides
        self.nodes, whole = maps(network, (shape[0], *sides)), maps(network, shape)
        self.axes = WindowAxis.of(shape[1], sides[0]), WindowAxis.of(shape[2], sides[1])
        device = next(network.parameters()).device
        self._norms = {
            small: WindowNorm(small.norm, node.shape, self.axes, device)
            for small, node in zip(self.nodes, whole, strict=True)
            if small.norm is not None
        }

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.axes[0].starts) * len(self.axes[1].starts)

    @property
    def bytes(self) -> int:
        """Size of all statistics."""
        return sum(norm.bytes for norm in self._norms.values())

    @property
    def norms(self) -> SampledNorms:
        """Norms of the network. They use the statistics of the image that is measured last."""
        functions = [self._norms.get(node, node.pointwise) for node in self.nodes]
        source = f"{counted(self.count, 'window')} of {self.sides[1]}x{self.sides[0]} pixels"
        return SampledNorms(source, functions, self.count * self.sides[0] * self.sides[1])

    @torch.inference_mode()
    def measure(
        self,
        read: Callable[[int, int], Tensor],
        progress: Callable[[float], object] = lambda done: None,
    ) -> None:
        """Measure the statistics of the windows of an image.

        Args:
            read: Returns rows `start` to `end` of the image, (1, channels, rows, width).
            progress: Called with the completed fraction after each window.
        """
        done = 0
        for row, top in enumerate(self.axes[0].starts):
            rows = read(top, top + self.sides[0])
            for column, left in enumerate(self.axes[1].starts):

                def norm_of(
                    node: Node, before: Tensor, row: int = row, column: int = column
                ) -> Pointwise:
                    return self._norms[node].measure(row, column, before)

                forward(self.nodes, rows[:, :, :, left : left + self.sides[1]], norm_of)
                done += 1
                progress(done / self.count)
