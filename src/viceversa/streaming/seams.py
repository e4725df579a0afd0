"""Seam score: gradients across the borders of tiles, relative to gradients near the borders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SHIFTS = (-4, -3, -2, 2, 3, 4)  # distances of the compared gradients, in periods


class Gradients:
    """Mean gradients between neighbouring rows and columns of an output, which is added by rows.

    Args:
        width: Width of the output.
    """

    def __init__(self, width: int) -> None:
        self._rows = list[Tensor]()
        self._columns = torch.zeros(width - 1, dtype=torch.float64)
        self._last: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """Add the next rows (1, channels, rows, width)."""
        joined = rows if self._last is None else torch.cat([self._last, rows], dim=2)
        self._rows.append(joined.diff(dim=2).abs().mean(dim=(0, 1, 3)))
        self._columns += rows.diff(dim=3).abs().mean(dim=1).sum(dim=(0, 1))
        self._last = rows[:, :, -1:].clone()

    def across(self, rows: Sequence[int], columns: Sequence[int], period: int) -> float | None:
        """Return the ratio of the gradients across borders to gradients near the borders.

        Args:
            rows: Rows below a border.
            columns: Columns to the right of a border.
            period: Period of patterns in the output, in pixels. The distances of compared gradients
                are multiples of it.

        Returns:
            The ratio; 1 without seams. None if there is no border, or no gradient.
        """
        total = Ratio(period)
        heights = torch.cat(self._rows).double()
        widths = self._columns / (len(heights) + 1)
        for gradients, borders in ((heights, rows), (widths, columns)):
            for border in borders:
                total.add(gradients, border - 1)
        return total.value


class Ratio:
    """Ratio of gradients across borders to gradients near the borders.

    Args:
        period: See `Gradients.across`.
    """

    def __init__(self, period: int) -> None:
        self.period, self._at, self._nearby = period, 0.0, 0.0

    def add(self, gradients: Tensor, index: int) -> None:
        """Add the border between the values `index` and `index + 1` of a row or column.

        Args:
            gradients: Differences of neighbouring values.
            index: Index of the difference across the border.
        """
        places = [index + shift * self.period for shift in SHIFTS]
        nearby = [one for one in places if 0 <= one < len(gradients)]
        if nearby and 0 <= index < len(gradients):
            self._at += float(gradients[index])
            self._nearby += float(gradients[nearby].mean())

    @property
    def value(self) -> float | None:
        """Return the ratio; None without gradients."""
        return self._at / self._nearby if self._nearby else None
