"""Record of one file of a dataset: its properties, from decoding it once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...images import Pixels
from ...images.domain import READ_AS
from ...images.nodata import mask_of

Range = tuple[tuple[float, ...], tuple[float, ...]]
"""Minimum and maximum of each channel."""


class FileRecord(NamedTuple):
    """Properties of one file, of its pixels upright and in the dtype in which they are read."""

    size: int
    mtime_ns: int
    sha256: str
    """Empty if the file could not be read."""
    error: str = ""
    """Why the file cannot be used, to follow its name; the other fields are then empty."""
    height: int = 0
    width: int = 0
    channels: int = 0
    dtype: str = ""
    mode: str = ""
    alpha: bool = False
    halves: tuple[Range, Range] = (((), ()), ((), ()))
    """Value ranges of the left and the right half, without no-data values; (inf, -inf): none."""
    nodata: str = ""
    """GDAL tag 42113."""
    suspected_nodata: float | None = None
    """Value that may mean no data, although the file does not declare it."""
    icc: str = ""
    metadata: str = ""
    """SHA-256 of the ICC profile, and of GDAL tag 42112; empty if there is none."""
    masked: tuple[float, float] = (0.0, 0.0)
    """Fraction of the pixels of the left and of the right half without data in any channel."""
    mask_size: int = 0
    mask_mtime_ns: int = 0
    mask_sha256: str = ""
    """SHA-256 of the mask file; empty if there is none."""

    @property
    def range(self) -> Range:
        """Value range of the whole image."""
        return join(*self.halves)

    @property
    def mask_stamp(self) -> tuple[int, int]:
        """Size and modification time of the mask file."""
        return self.mask_size, self.mask_mtime_ns

    @property
    def read_dtype(self) -> str:
        """The dtype in which the pixels are read."""
        return READ_AS.get(self.dtype, "float32")


def join(left: Range, right: Range) -> Range:
    """Return the range of two images together."""
    return tuple(map(min, left[0], right[0])), tuple(map(max, left[1], right[1]))


def ranges(pixels: Pixels) -> tuple[Range, Range]:
    """Return the value ranges of the left and of the right half."""
    height, width, channels = pixels.shape
    lows = highs = np.ma.getdata(pixels)
    if (mask := mask_of(pixels)) is not None:
        lows, highs = (np.where(mask, end, lows.astype(np.float64)) for end in (np.inf, -np.inf))
    # Down the columns first: whole rows at a time are 200 times as fast as three values at a time.
    flat = height, width * channels
    lows = np.minimum.reduce(lows.reshape(flat), axis=0).reshape(width, channels)
    highs = np.maximum.reduce(highs.reshape(flat), axis=0).reshape(width, channels)
    middle = width // 2
    # If there is a single column, it is both halves.
    left, right = (
        (tuple(lows[cut].min(axis=0).tolist()), tuple(highs[cut].max(axis=0).tolist()))
        for cut in (slice(middle or 1), slice(middle, None))
    )
    return left, right


def masked_fractions(pixels: Pixels) -> tuple[float, float]:
    """Return the fraction of pixels without data in any channel, of the left and right half."""
    if (mask := mask_of(pixels)) is None:
        return 0.0, 0.0
    missing, middle = np.asarray(mask.any(axis=2)), mask.shape[1] // 2
    return float(missing[:, : middle or 1].mean()), float(missing[:, middle:].mean())
