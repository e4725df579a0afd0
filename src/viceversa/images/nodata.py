"""No-data values: which numbers of a file are no measurement, as a NumPy masked array."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .formats.layout import Pixels

Mask = NDArray[np.bool_]
# A pixel that has less valid data than this under the resizing filter stays without data. Below
# it, the negative lobes of the bicubic filter could make numbers far outside the valid ones.
LEAST_WEIGHT = 0.1
SENTINELS = (-9999.0, -99999.0, -999.0, -32768.0, -32767.0)  # usual no-data values


class NoData(NamedTuple):
    """The no-data value of a file: `value`, or with `tag` the one of its GDAL tag if it has it."""

    value: float | None = None
    tag: bool = False

    def of(self, text: str) -> float | None:
        """The value for a file whose tag 42113 is `text` ("" if it has none)."""
        if self.tag and text:
            try:
                return number(text)
            except ValueError:
                return self.value  # a damaged tag declares nothing
        return self.value


def number(text: str) -> float:
    """A no-data value from its text, as GDAL writes it: -9999, -3.4e+38, nan. Raises ValueError."""
    return float(text.strip().strip("\0").replace("1.#QNAN", "nan").replace("1.#IND", "nan"))


def missing(values: NDArray[Any], value: float | None) -> Mask | None:
    """The mask of the no-data value in an array of any dtype; None if no number has it."""
    if value is None:
        return None
    if math.isnan(value):
        found = np.isnan(values) if values.dtype.kind == "f" else None
    elif values.dtype.kind == "f":
        ends = np.finfo(values.dtype)  # the tag has often more digits, or fewer, than the dtype
        with np.errstate(over="ignore"):
            stored = np.float64(value).clip(ends.min, ends.max).astype(values.dtype)
            found = (values == stored) | (values == np.float64(value).astype(values.dtype))
    elif values.dtype.kind in "iu" and value == math.floor(value):
        limits = np.iinfo(values.dtype)
        found = values == int(value) if limits.min <= value <= limits.max else None
    else:
        found = None
    return found if found is not None and found.any() else None


def masked(values: NDArray[Any], mask: Mask | None) -> Pixels:
    """The values as a masked array; the array itself if nothing is masked."""
    if mask is None or not mask.any():
        return values
    return np.ma.MaskedArray(values, mask=mask)


def mask_of(pixels: Pixels) -> Mask | None:
    """The mask of the values without data; None if the array has none."""
    mask = np.ma.getmaskarray(pixels) if isinstance(pixels, np.ma.MaskedArray) else None
    return mask if mask is not None and mask.any() else None


def data_of(pixels: Pixels) -> Pixels:
    """The numbers of an array without its mask."""
    return np.ma.getdata(pixels) if isinstance(pixels, np.ma.MaskedArray) else pixels


def filled_for(dtype: str, text: str) -> float | None:
    """The no-data value that a file of a dtype can hold; None if it can hold none."""
    value = number(text) if text else None
    if value is None or dtype == "float32":
        return None if value is None else float(np.clip(value, *_float_limits()))
    limits = np.iinfo(dtype)
    fits = value == math.floor(value) if math.isfinite(value) else False
    return value if fits and limits.min <= value <= limits.max else None


def _float_limits() -> tuple[float, float]:
    limits = np.finfo(np.float32)
    return float(limits.min), float(limits.max)


def parsed(text: str | float) -> NoData:
    """What an option says: a number, nan, tag or none. Raises UserError for anything else."""
    if text in ("tag", "none"):
        return NoData(tag=text == "tag")
    try:
        return NoData(number(str(text)))
    except ValueError:
        raise UserError(
            f"nodata is a number, nan, tag (GDAL tag 42113 of each file) or none, not {text!r}",
            option="nodata",
        ) from None


def suspected(pixels: Pixels) -> float | None:
    """An extreme value that may mean no data: it fills many pixels, and lies far from all others.

    Never 0, and none of 8 bits, whose extremes are black and white.
    """
    if pixels.dtype == np.uint8:
        return None
    values = data_of(pixels)
    valid = values if (mask := mask_of(pixels)) is None else values[~mask]
    valid = valid.reshape(-1)
    if not valid.size:
        return None
    for extreme in (valid.min(), valid.max()):
        if extreme == 0 or (fill := np.count_nonzero(valid == extreme)) < 0.01 * valid.size:
            continue
        others = valid[valid != extreme].astype(np.float64)
        if not others.size or len(np.unique(others[:: max(1, others.size // 4096)])) < 8:
            continue  # a mask or a label map
        gap = min(abs(float(extreme) - others.min()), abs(float(extreme) - others.max()))
        usual = float(extreme) in SENTINELS or abs(float(extreme)) > 1e30
        if gap > np.ptp(others) or (usual and fill > 1 and gap > 1):
            return float(extreme)
    return None
