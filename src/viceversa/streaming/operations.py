"""Layers that depend on neighbouring rows, computed for a range of rows.

Shapes are (channels, height, width) of a whole map; rows are (1, channels, rows, width). A layer
computes its rows `start` to `end` from the rows `needs(start, end)` of its input. The layer pads at
the borders of the map, but not between bands, where its input contains the actual rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, int, int]


class Operation:
    """A layer that is computed row by row.

    Args:
        before: Shape of its input.
        shape: Shape of its output.
    """

    def __init__(self, before: Shape, shape: Shape) -> None:
        self.before, self.shape = before, shape

    @property
    def arithmetic(self) -> int:
        """Number of multiplications for the whole map; 0 for cheap layers."""
        return 0

    def needs(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of input rows from which the rows `start` to `end` are computed."""
        raise NotImplementedError

    def first(self, start: int) -> int:
        """Return the first input row that the rows from `start` to the end need."""
        return self.needs(start, start + 1)[0] if start < self.shape[1] else self.before[1]

    def rows(self, rows: Tensor, first: int, start: int, end: int) -> Tensor:
        """Compute the rows `start` to `end` from input rows that begin with row `first`."""
        raise NotImplementedError


class Convolution(Operation):
    """A convolution with zero padding.

    Args:
        weight: (channels, channels_in / groups, height, width).
        bias: (channels,) or None.
        before: Shape of the input.
        pads: Padding at left, right, top and bottom.
        stride: Stride of rows and columns.
        dilation: Dilation of rows and columns.
        groups: Groups of channels.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        before: Shape,
        pads: Sequence[int] = (0, 0, 0, 0),
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> None:
        self.weight, self.bias, self.pads = weight, bias, tuple(pads)
        self.stride, self.dilation, self.groups = stride, dilation, groups
        left, right, top, bottom = self.pads
        self.reach, across = (
            d * (size - 1) + 1 for d, size in zip(dilation, weight.shape[2:], strict=True)
        )
        height = (before[1] + top + bottom - self.reach) // stride[0] + 1
        width = (before[2] + left + right - across) // stride[1] + 1
        super().__init__(before, (weight.shape[0], height, width))

    @property
    def arithmetic(self) -> int:
        return self.weight[0].numel() * self.shape[0] * self.shape[1] * self.shape[2]

    def _range(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of input rows; padding rows are outside of the map."""
        top = self.pads[2]
        return start * self.stride[0] - top, (end - 1) * self.stride[0] - top + self.reach

    def needs(self, start: int, end: int) -> tuple[int, int]:
        low, high = self._range(start, end)
        return max(low, 0), min(high, self.before[1])

    def rows(self, rows: Tensor, first: int, start: int, end: int) -> Tensor:
        low, high = self._range(start, end)
        given, (left, right) = self.needs(start, end), self.pads[:2]
        rows = rows[:, :, given[0] - first : given[1] - first]
        above, below, across = given[0] - low, high - given[1], 0
        if left == right and not above and not below:  # without a copy
            across = left
        else:
            rows = F.pad(rows, [left, right, above, below])
        weight, padding = self.weight.to(rows.device), (0, across)
        return F.conv2d(rows, weight, self.bias, self.stride, padding, self.dilation, self.groups)


class TransposedConvolution(Operation):
    """A transposed convolution: output row o = stride i - padding + dilation j of input row i."""

    def __init__(self, layer: nn.ConvTranspose2d, before: Shape) -> None:
        self.layer, self.weight = layer, layer.weight.detach()
        self.padding, self.stride, self.dilation, self.more = (
            pair(one) for one in (layer.padding, layer.stride, layer.dilation, layer.output_padding)
        )
        self.reach, across = (
            d * (size - 1) for d, size in zip(self.dilation, self.weight.shape[2:], strict=True)
        )
        sides = [
            (side - 1) * self.stride[i] - 2 * self.padding[i] + reach + self.more[i] + 1
            for i, (side, reach) in enumerate(zip(before[1:], (self.reach, across), strict=True))
        ]
        super().__init__(before, (layer.out_channels, sides[0], sides[1]))

    @property
    def arithmetic(self) -> int:
        return self.weight[0].numel() * self.before[0] * self.before[1] * self.before[2]

    def needs(self, start: int, end: int) -> tuple[int, int]:
        stride, padding = self.stride[0], self.padding[0]
        low = -(-(start + padding - self.reach) // stride)
        high = (end - 1 + padding) // stride + 1
        return max(low, 0), min(max(high, low + 1), self.before[1])

    def rows(self, rows: Tensor, first: int, start: int, end: int) -> Tensor:
        low, high = self.needs(start, end)
        out = F.conv_transpose2d(
            rows[:, :, low - first : high - first],
            self.weight,
            self.layer.bias,
            self.stride,
            (0, self.padding[1]),
            self.more,
            self.layer.groups,
            self.dilation,
        )
        top = low * self.stride[0] - self.padding[0]
        return out[:, :, start - top : end - top]


class Padding(Operation):
    """Padding by reflection or replication, at left, right, top and bottom."""

    def __init__(self, pads: Sequence[int], mode: str, before: Shape) -> None:
        left, right, top, bottom = pads
        channels, height, width = before
        super().__init__(before, (channels, height + top + bottom, width + left + right))
        self.mode, self.columns = mode, (left, right)
        index = torch.arange(-top, height + bottom)
        if mode == "reflect":
            self.index = (height - 1) - ((height - 1) - index.abs()).abs()
        else:
            self.index = index.clamp(0, height - 1)
        self.firsts = self.index.flip(0).cummin(0).values.flip(0)

    def needs(self, start: int, end: int) -> tuple[int, int]:
        index = self.index[start:end]
        return int(index.min()), int(index.max()) + 1

    def first(self, start: int) -> int:
        return int(self.firsts[start]) if start < self.shape[1] else self.before[1]

    def rows(self, rows: Tensor, first: int, start: int, end: int) -> Tensor:
        index = self.index[start:end] - first
        low, high = int(index[0]), int(index[-1]) + 1
        if high - low == len(index):
            rows = rows[:, :, low:high]
        else:
            rows = rows.index_select(2, index.to(rows.device))
        return F.pad(rows, [*self.columns, 0, 0], mode=self.mode)


class Upsampling(Operation):
    """Upsampling by an integer factor: nearest neighbour, or bilinear by a factor of 2."""

    def __init__(self, factor: int, mode: str, before: Shape) -> None:
        channels, height, width = before
        super().__init__(before, (channels, height * factor, width * factor))
        self.factor, self.mode = factor, mode

    def needs(self, start: int, end: int) -> tuple[int, int]:
        if self.mode == "nearest":
            return start // self.factor, (end - 1) // self.factor + 1
        return max((start - 1) // 2, 0), min(end // 2 + 1, self.before[1])

    def rows(self, rows: Tensor, first: int, start: int, end: int) -> Tensor:
        low, high = self.needs(start, end)
        corners = None if self.mode == "nearest" else False
        rows = rows[:, :, low - first : high - first]
        out = F.interpolate(rows, scale_factor=self.factor, mode=self.mode, align_corners=corners)
        top = low * self.factor
        return out[:, :, start - top : end - top]


def pair(value: Any) -> tuple[int, int]:
    """Return a setting of torch's layers for rows and columns."""
    first, second = value if isinstance(value, tuple) else (value, value)
    return int(first), int(second)
