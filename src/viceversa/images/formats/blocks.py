"""Rows of images that are decoded in blocks, such as rows of tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEPT = 2  # cached blocks; enough if bands overlap by less than one block


class Blocks:
    """Decode blocks of rows on demand, and cache the most recent blocks.

    Args:
        rows: Rows of each block; the last one may have fewer.
        decode: Returns a block by its number, (h, w, channels).
    """

    def __init__(self, rows: int, decode: Callable[[int], NDArray[Any]]) -> None:
        self.rows, self._decode = rows, decode
        self._kept: dict[int, NDArray[Any]] = {}

    def read(self, start: int, end: int) -> NDArray[Any]:
        """Return rows `start` to `end`, (h, w, channels)."""
        parts = []
        for number in range(start // self.rows, (end - 1) // self.rows + 1):
            if number not in self._kept:
                while len(self._kept) >= KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[number] = self._decode(number)
            top = number * self.rows
            parts.append(self._kept[number][max(start - top, 0) : end - top])
        return np.concatenate(parts) if len(parts) > 1 else parts[0]
