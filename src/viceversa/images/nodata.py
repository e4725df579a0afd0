"""Pixels without data: by a no-data value, a rule, the alpha channel or a mask file."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .header import Pixels, Refused

Mask = NDArray[np.bool_]
# A resized pixel has no data if the weights of the valid pixels under the filter sum to less:
# divided by a smaller sum, the negative weights of bicubic filters give values out of range.
LEAST_WEIGHT = 0.1
COMMON = (-9999.0, -99999.0, -999.0, -32768.0, -32767.0)  # common no-data values


COMPARISONS: dict[str, Callable[[Any, float], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
RULE = re.compile(r"\s*([<>]=?)\s*(.*)")


class NoData(NamedTuple):
    """Which pixels of a file have no data."""

    value: float | None = None
    """No-data value, of each channel for itself."""
    tag: bool = False
    """Whether the GDAL tag of a file, if it has one, replaces `value`."""
    rule: tuple[str, float] | None = None
    """Comparison, such as (">=", 250), that holds in all channels but alpha of such pixels."""
    alpha: bool = False
    """Whether pixels of alpha 0 have no data. Alpha is then left out instead of composed."""

    @property
    def possible(self) -> bool:
        """Whether a file without a GDAL tag can have pixels without data."""
        return self.value is not None or self.rule is not None or self.alpha

    def for_tag(self, text: str) -> float | None:
        """Return the value for a file whose tag 42113 is `text` ("" if it has none)."""
        if self.tag and text:
            with suppress(ValueError):  # a damaged tag declares nothing
                return parse_value(text)
        return self.value


def parse_value(text: str) -> float:
    """Parse a no-data value as GDAL writes it: -9999, -3.4e+38, nan. Raises ValueError."""
    value = float(text.strip().strip("\0").replace("1.#QNAN", "nan").replace("1.#IND", "nan"))
    return math.nan if math.isnan(value) else value  # one object, so that settings compare equal


def nodata_mask(values: NDArray[Any], value: float | None) -> Mask | None:
    """Return where an array of any dtype has the no-data value; None if nowhere."""
    if value is None:
        return None
    mask: Mask | None = None
    if values.dtype.kind == "f" and math.isnan(value):
        mask = np.isnan(values)
    elif values.dtype.kind == "f":
        limits = np.finfo(values.dtype)  # the tag may have more or fewer digits than the dtype
        with np.errstate(over="ignore"):
            nearest = np.float64(value).clip(limits.min, limits.max).astype(values.dtype)
            mask = (values == nearest) | (values == np.float64(value).astype(values.dtype))
    elif _holds(values.dtype, value):
        mask = values == int(value)
    return mask if mask is not None and mask.any() else None


def missing(
    values: NDArray[Any],
    nodata: NoData,
    *,
    tag: str = "",
    alpha: bool = False,
    mask: Mask | None = None,
) -> Mask | None:
    """Return where an image has no data, or None if nowhere.

    Args:
        values: (h, w) or (h, w, channels) of any dtype, possibly a masked array.
        nodata: Which pixels have no data.
        tag: GDAL tag 42113 of the file.
        alpha: Whether the last channel is alpha.
        mask: (h, w), true where a mask file says that there is no data.

    Raises:
        Refused: The mask has another size than the image.
    """
    own, values = mask_of(values), np.ma.getdata(values)
    found = [own, nodata_mask(values, nodata.for_tag(tag))]
    alpha = alpha and values.ndim == 3
    pixels = [mask]
    if nodata.rule is not None:
        compare, limit = nodata.rule
        colours = values[:, :, :-1] if alpha else values.reshape(*values.shape[:2], -1)
        pixels.append(COMPARISONS[compare](colours, limit).all(axis=2))
    if nodata.alpha and alpha:
        pixels.append(values[:, :, -1] == 0)
    check_mask(values.shape[:2], mask)
    for one in pixels:
        if one is not None:
            shaped = one.reshape(*one.shape, *[1] * (values.ndim - 2))
            found.append(np.broadcast_to(shaped, values.shape))
    masks = [one for one in found if one is not None and one.any()]
    return np.logical_or.reduce(masks) if masks else None


def check_mask(size: tuple[int, ...], mask: Mask | None) -> None:
    """Raise Refused if a mask has another (height, width) than its image."""
    if mask is not None and mask.shape != size:
        (height, width), (h, w) = size, mask.shape
        raise Refused(f"is {width}x{height}, and its mask {w}x{h}; save both at one size")


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    """Return whether an integer dtype can represent a value."""
    if dtype.kind not in "iu" or not value.is_integer():
        return False
    limits = np.iinfo(dtype)
    return int(limits.min) <= value <= int(limits.max)


def masked(values: NDArray[Any], mask: Mask | None) -> Pixels:
    """Return the values as a masked array, or unchanged if nothing is masked."""
    if mask is None or not mask.any():
        return values
    return np.ma.MaskedArray(values, mask=mask)


def mask_of(pixels: Pixels) -> Mask | None:
    """Return the mask of an array; None if nothing is masked."""
    mask = np.ma.getmask(pixels)
    return np.ma.getmaskarray(pixels) if np.any(mask) else None


def value_for_dtype(dtype: str, text: str) -> float | None:
    """Return the no-data value as a dtype stores it; None if it cannot."""
    if not text:
        return None
    value = parse_value(text)
    if dtype == "float32":
        limits = np.finfo(np.float32)
        return float(np.clip(value, float(limits.min), float(limits.max)))
    return value if _holds(np.dtype(dtype), value) else None


def parse_nodata(text: str | float) -> NoData:
    """Parse the option `nodata`: a number, nan, a rule, tag or none. Raises UserError."""
    if text in ("tag", "none"):
        return NoData(tag=text == "tag")
    try:
        if rule := RULE.fullmatch(str(text)):
            limit = float(rule[2])
            if math.isfinite(limit):
                return NoData(rule=(rule[1], limit))
            raise ValueError
        return NoData(parse_value(str(text)))
    except ValueError:
        raise UserError(
            "nodata must be a number, nan, a rule such as >=250 or <0, tag (GDAL tag of each file) "
            f"or none, not {text!r}",
            option="nodata",
        ) from None


def suspected_nodata(pixels: Pixels) -> float | None:
    """Return an undeclared value that may mean no data, or None.

    It is the minimum or maximum of an image, the value of many pixels, and far from all others,
    but not 0, nor a value of an 8-bit image, whose extremes are black and white.
    """
    if pixels.dtype == np.uint8:
        return None
    values = np.ma.getdata(pixels)
    valid = values.reshape(-1) if (mask := mask_of(pixels)) is None else values[~mask]
    if not valid.size:
        return None
    for extreme in (valid.min(), valid.max()):
        if extreme == 0 or (fill := np.count_nonzero(valid == extreme)) < 0.01 * valid.size:
            continue
        others = valid[valid != extreme].astype(np.float64)
        if not others.size or len(np.unique(others[:: max(1, others.size // 4096)])) < 8:
            continue  # a mask or a label map
        value = float(extreme)
        gap = min(abs(value - others.min()), abs(value - others.max()))
        usual = value in COMMON or abs(value) > 1e30
        if gap > np.ptp(others) or (usual and fill > 1 and gap > 1):
            return value
    return None
