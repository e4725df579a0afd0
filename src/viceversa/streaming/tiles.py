"""Compute the output of a network in overlapping tiles.

Tiles overlap by twice the receptive field and the width of a zone in which neighbouring tiles are
blended. There, both have the output of the whole image, unless norms use statistics of the image:
these differ from tile to tile.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..files import format_bytes
from ..networks.sizes import multiple_of, supported_side
from .operations import Shape
from .seams import Gradients, Ratio
from .stream import ReadRows, WriteRows

BLEND = 20  # pixels on each side of a border in which two tiles are blended
STRIDES = (4096, 3072, 2048, 1536, 1024, 768, 512, 384, 256, 192, 128, 96, 64)
"""Possible distances of tiles, in pixels."""
ROWS = 16  # rows that are read or written at once


class TileAxis:
    """Positions of the tiles along one axis of an image.

    Args:
        length: Height or width of the image.
        tile: Height or width of each tile.
        overlap: Minimum number of pixels that neighbouring tiles share.
        multiple: Tiles begin at multiples of it, to keep the phase of strided layers.
        blend: Pixels on each side of a border in which two tiles are blended.
    """

    def __init__(self, length: int, tile: int, overlap: int, multiple: int, blend: int) -> None:
        self.length, self.tile, self.blend = length, min(tile, length), blend
        stride = (tile - overlap) // multiple * multiple
        count = max(0, math.ceil((length - tile) / stride)) + 1
        self.starts = [min(i * stride, length - self.tile) for i in range(count)]
        self.borders = [(a + tile + b) // 2 for a, b in itertools.pairwise(self.starts)]
        """Pixels after each border of two tiles, in the middle of their overlap."""

    def part(self, number: int) -> tuple[int, int]:
        """Return the range of the output to which a tile contributes."""
        ends = [-self.blend, *self.borders, self.length + self.blend]
        low, high = ends[number] - self.blend, ends[number + 1] + self.blend
        return max(low, 0), min(high, self.length)

    def between_borders(self, number: int) -> tuple[int, int]:
        """Return the range of the output between the borders of a tile, which no other tile has."""
        ends = [0, *self.borders, self.length]
        return ends[number], ends[number + 1]

    def weights(self, number: int) -> Tensor:
        """Return the weights of a tile in its part of the output."""
        low, high = self.part(number)
        weights, ramp = torch.ones(high - low), 2 * self.blend
        rising = (torch.arange(ramp) + 0.5) / max(ramp, 1)
        if number > 0:
            weights[:ramp] = rising
        if number < len(self.borders):
            weights[len(weights) - ramp :] = 1 - rising
        return weights


class TiledNetwork:
    """Network for images of one size, computed in overlapping tiles.

    Args:
        network: A network in eval mode, without noise.
        shape: (channels, height, width) of the images, whose sides the network supports.
        memory: Bytes that the tiles may need.
        receptive_field: See `receptive_field`.
        tile_memory: Function that returns the bytes needed for a tile (channels, height, width).
        channels: Channels of the output.
        device: Device of the network.
        blend: Pixels on each side of a border in which two tiles are blended.

    Raises:
        UserError: The memory is not enough for the smallest tiles.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: Shape,
        memory: int,
        receptive_field: int,
        tile_memory: Callable[[Shape], int],
        channels: int,
        device: torch.device,
        blend: int = BLEND,
    ) -> None:
        self.network, self.shape, self.channels, self.device = network, shape, channels, device
        self.overlap = 2 * (receptive_field + blend)
        multiple = multiple_of(network)
        for stride in STRIDES:
            tile = supported_side(network, self.overlap + max(stride, multiple, 4 * blend))
            self.rows, self.columns = (
                TileAxis(length, tile, self.overlap, multiple, blend) for length in shape[1:]
            )
            self.memory = tile_memory(self.tile) + self._rows_memory()
            if self.memory <= memory:
                break
        else:
            raise UserError(
                f"{format_bytes(self.memory)} of memory are needed for tiles of {tile} pixels, the "
                f"smallest ones, and {format_bytes(memory)} may be used; raise --memory (by "
                "default half of the free memory)",
                option="--memory",
            )
        # The compared gradients of a single tile are then in the zone that it computes exactly.
        self._one_pass = Ratio(min(multiple, max(1, (blend - 1) // 4)))
        self._gradients = Gradients(shape[2])

    @property
    def tile(self) -> Shape:
        """Return the shape of a tile."""
        return self.shape[0], self.rows.tile, self.columns.tile

    @property
    def count(self) -> int:
        """Return the number of tiles."""
        return len(self.rows.starts) * len(self.columns.starts)

    @property
    def costs(self) -> str:
        """Return a clause about the costs of an image."""
        _, height, width = self.tile
        arithmetic = self.count * height * width / (self.shape[1] * self.shape[2])
        return (
            f"it is translated in {self.count} tiles of {width}x{height} pixels that overlap by "
            f"{self.overlap} pixels: {format_bytes(self.memory)} of memory, {arithmetic:.2f} times "
            "the arithmetic"
        )

    def __call__(
        self,
        read: ReadRows,
        write: WriteRows,
        scratch: Path,
        progress: Callable[[float], object] = lambda done: None,
    ) -> None:
        """Translate an image. It needs no temporary files; see `BandedNetwork`."""
        self._gradients = Gradients(self.shape[2])
        carried = torch.zeros(1, self.channels, 0, self.shape[2])
        with torch.inference_mode():
            for number in range(len(self.rows.starts)):
                joined = self._row_of_tiles(number, read, progress)
                low, high = self.rows.part(number)
                joined[:, :, : carried.shape[2]] += carried
                last = number == len(self.rows.borders)
                end = high - low if last else self.rows.borders[number] - self.rows.blend - low
                for start in range(0, end, ROWS):
                    rows = joined[:, :, start : min(start + ROWS, end)]
                    self._gradients.add(rows)
                    write(rows)
                carried = joined[:, :, end:].clone()

    def seam_score(self) -> float | None:
        """Return the seam score of the last image; None if there are no borders.

        The score is the mean gradient across the borders of tiles divided by the mean gradient
        nearby, minus the same ratio, at the same places, of tiles that contain the border: 0
        without seams.
        """
        one_pass = self._one_pass.value
        period = self._one_pass.period
        joined = self._gradients.across(self.rows.borders, self.columns.borders, period)
        return None if joined is None or one_pass is None else joined - one_pass

    def _row_of_tiles(
        self, number: int, read: ReadRows, progress: Callable[[float], object]
    ) -> Tensor:
        """Return the weighted output of a row of tiles."""
        top, (low, high) = self.rows.starts[number], self.rows.part(number)
        image = self._read(read, top, top + self.rows.tile)
        joined = torch.zeros(1, self.channels, high - low, self.shape[2])
        for i, left in enumerate(self.columns.starts):
            tile = image[:, :, :, left : left + self.columns.tile].to(self.device)
            output = self.network(tile).float().cpu()
            self._measure(output, number, i)
            first, last = self.columns.part(i)
            part = output[:, :, low - top : high - top, first - left : last - left]
            joined[:, :, :, first:last] += part * self.columns.weights(i)
            progress((number * len(self.columns.starts) + i + 1) / self.count)
        joined *= self.rows.weights(number)[:, None]
        return joined

    def _measure(self, output: Tensor, row: int, column: int) -> None:
        """Measure the gradients of a tile where its right and lower borders will be."""
        for axis, number, other, position, dim in (
            (self.rows, row, self.columns, column, 2),
            (self.columns, column, self.rows, row, 3),
        ):
            if number < len(axis.borders):
                low, high = other.between_borders(position)
                part = output.narrow(5 - dim, low - other.starts[position], high - low)
                gradients = part.diff(dim=dim).abs().mean(dim=1).sum(dim=(0, 4 - dim))
                border = axis.borders[number] - axis.starts[number]
                self._one_pass.add(gradients / other.length, border - 1)

    def _read(self, read: ReadRows, start: int, end: int) -> Tensor:
        """Return rows of the image; reading few at a time needs less memory."""
        rows = torch.empty(1, self.shape[0], end - start, self.shape[2])
        for low in range(start, end, ROWS):
            high = min(low + ROWS, end)
            rows[:, :, low - start : high - start] = read(low, high)
        return rows

    def _rows_memory(self) -> int:
        """Return the bytes of the rows of the image and of the output, and of their conversion."""
        channels, width = self.shape[0] + self.channels, self.shape[2]
        return channels * width * (4 * self.rows.tile + 64 * ROWS)
