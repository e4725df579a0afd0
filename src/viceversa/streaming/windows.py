"""Norms whose statistics depend on the position: those of windows around each pixel.

Windows cover the image without gaps, and the network translates each window alone, like a crop in
training. At a pixel, a norm uses the statistics of the four nearest windows together, with bilinear
weights. At the centre of a window these are the statistics of this window, and in between they
change gradually, so there are no seams. With them, a network needs one pass and no files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..fields import counted
from .graph import Node, maps
from .operations import Operation, Shape
from .sampling import SampledNorms, forward
from .statistics import Moments, Pointwise, adds_to_deviation, of_channels, with_statistics


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
        moments: Moments of its input for each window, row by row.
        shape: Shape of the map for the whole image.
        axes: Positions of the windows along the height and the width of the image.
        device: Device of the rows.
    """

    def __init__(
        self,
        layer: nn.Module,
        moments: Sequence[Moments],
        shape: Shape,
        axes: tuple[WindowAxis, WindowAxis],
        device: torch.device,
    ) -> None:
        super().__init__(shape, shape)
        self.layer = layer
        grid = len(axes[0].starts), len(axes[1].starts)
        mean, variance = (
            torch.stack(one, dim=1).reshape(-1, *grid)
            for one in zip(*[of_channels(layer, one) for one in moments], strict=True)
        )
        centre = mean.mean(dim=(1, 2), keepdim=True)  # differences from it are exact in float32
        self.centre, self.mean, self.square = (
            one.float().to(device)
            for one in (centre, mean - centre, variance + (mean - centre) ** 2)
        )
        self.row, self.column = (
            axis.positions(length, device) for axis, length in zip(axes, shape[1:], strict=True)
        )

    def needs(self, start: int, end: int) -> tuple[int, int]:
        return start, end

    def rows(self, rows: Tensor, first: int, start: int, end: int) -> Tensor:
        mean, square = self._at(self.mean, start, end), self._at(self.square, start, end)
        variance, eps = (square - mean**2).clamp_min(0), float(self.layer.eps)  # type: ignore[arg-type]
        if adds_to_deviation(self.layer):
            scale = 1 / (variance.clamp_min(1e-12).sqrt() + eps)
        else:
            scale = (variance + eps).rsqrt()
        output = (rows[:, :, start - first : end - first] - (self.centre + mean)) * scale
        weight, bias = self.layer.weight, self.layer.bias
        if isinstance(weight, Tensor):
            output = output * weight[:, None, None]
        return output + bias[:, None, None] if isinstance(bias, Tensor) else output

    def _at(self, values: Tensor, start: int, end: int) -> Tensor:
        """Return values of windows, interpolated at rows of the map: (channels, rows, width)."""
        above, below, weight = (one[start:end] for one in self.row)
        values = values[:, above].lerp(values[:, below], weight[:, None])
        left, right, weight = self.column
        return values[:, :, left].lerp(values[:, :, right], weight)


@torch.inference_mode()
def window_norms(
    network: nn.Module,
    shape: Shape,
    sides: tuple[int, int],
    read: Callable[[int, int], Tensor],
    progress: Callable[[float], object] = lambda done: None,
) -> SampledNorms:
    """Return the norms of a network with the statistics of windows of an image.

    Args:
        network: The network, in eval mode.
        shape: (channels, height, width) of the image.
        sides: Height and width of the windows, which the network supports; at most the image's.
        read: Returns rows `start` to `end` of the image, (1, channels, rows, width) in [-1, 1].
        progress: Called with the completed fraction after each window.

    Raises:
        Unknown: See `maps`.
    """
    nodes, whole = maps(network, (shape[0], *sides)), maps(network, shape)
    axes = WindowAxis.of(shape[1], sides[0]), WindowAxis.of(shape[2], sides[1])
    device = next(network.parameters()).device
    found: dict[Node, list[Moments]] = {node: [] for node in nodes if node.norm is not None}

    def norm_of(node: Node, before: Tensor) -> Pointwise:
        assert node.norm is not None
        moments = Moments(before.shape[1])
        moments.add(before)
        found[node].append(moments)
        return with_statistics(node.norm, moments, before.device)

    count, done = len(axes[0].starts) * len(axes[1].starts), 0
    for top in axes[0].starts:
        rows = read(top, top + sides[0])
        for left in axes[1].starts:
            forward(nodes, rows[:, :, :, left : left + sides[1]], norm_of)
            done += 1
            progress(done / count)
    functions: list[Pointwise | Operation | None] = [
        node.pointwise
        if node.norm is None
        else WindowNorm(node.norm, found[small], node.shape, axes, device)
        for small, node in zip(nodes, whole, strict=True)
    ]
    windows = f"{counted(count, 'window')} of {sides[1]}x{sides[0]} pixels"
    return SampledNorms(windows, functions, count * sides[0] * sides[1])
