"""Operations on pixels: dtype, channels, transparency, orientation, size. Nothing is clipped."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import UserError
from .header import DAMAGED, Header, Pixels, Refused
from .nodata import LEAST_WEIGHT, Mask, NoData, mask_of, masked, missing
from .sources import path_of, printable

NAN_HINT = "; if NaN means no data, set the domain's nodata to nan"
DTYPES = ("uint8", "uint16", "int16", "float32")
# mode of Pillow -> mode to which the image is converted; 1 bit becomes 0 and 255
CONVERTED = {
    **{mode: mode for mode in ("L", "LA", "RGB", "RGBA", "I", "F")},
    **{mode: mode for mode in ("I;16", "I;16L", "I;16B", "I;16N")},
    **dict.fromkeys(("P", "CMYK", "YCbCr", "RGBX"), "RGB"),
    **dict.fromkeys(("PA", "RGBa"), "RGBA"),
    "La": "LA",
    "1": "L",
}
FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}


def convert_dtype(values: NDArray[Any], indices: bool = False) -> NDArray[Any]:
    """Return values as uint8, uint16, int16 or float32, unchanged.

    bool becomes 0 and 255 (`indices`: 0 and 1); float16 and float64 are rounded to float32. Raises
    Refused for non-real or non-finite values, and for integers that float32 cannot represent.
    """
    kind = values.dtype.kind
    if kind == "b":
        return values.astype(np.uint8) * np.uint8(1 if indices else 255)
    if kind in "iu":
        if values.dtype.name in DTYPES:
            return values.astype(values.dtype.newbyteorder("="), copy=False)
        return _exact(values)
    if kind != "f":
        raise Refused(f"contains {values.dtype.name} values, not real numbers")
    # Values that are too large for float32 become infinite and are counted below.
    with np.errstate(over="ignore", invalid="ignore"):
        values = values.astype(np.float32)
    invalid = values.size - int(np.isfinite(values).sum())
    if invalid:
        hint = NAN_HINT if np.isnan(values).any() else ""
        raise Refused(f"contains {invalid} non-finite values (NaN, infinite or too large){hint}")
    return values


def _exact(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers as float32, which represents all up to 2^24, but only some beyond."""
    with np.errstate(over="ignore"):
        result = values.astype(np.float32)
    # Both comparisons are exact: float64 represents all integers up to 2^53.
    wide = values.astype(np.float64)
    changed = (result != wide) | (np.abs(wide) >= 2.0**53)
    if changed.any():
        value = values[changed].flat[0]
        raise Refused(
            f"contains the {values.dtype.name} value {value}, which float32 cannot represent; "
            "convert it to uint16 or scale it first"
        )
    return result


def convert_masked(values: NDArray[Any], mask: Mask | None, indices: bool = False) -> Pixels:
    """Apply `convert_dtype` to (h, w) or (h, w, channels); return (h, w, channels) in C order.

    Pixels in the mask, from `missing`, are masked and become 0: the dtype of the result may not
    represent their values.
    """
    values = np.ma.getdata(values)
    if mask is not None:
        values = np.where(mask, values.dtype.type(0), values)
    pixels = masked(convert_dtype(values, indices), mask)
    return contiguous(pixels[:, :, None] if pixels.ndim == 2 else pixels)


def contiguous(pixels: Pixels) -> Pixels:
    """Return an array, masked or not, in C order."""
    return masked(np.ascontiguousarray(np.ma.getdata(pixels)), mask_of(pixels))


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply the EXIF orientation 1 to 8 to (height, width, channels)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return contiguous(pixels)


def fit_channels(pixels: Pixels, alpha: bool, channels: int, name: object) -> Pixels:
    """Convert pixels to a number of channels: grey to RGB, RGB to luminance, alpha over white.

    Of pixels whose alpha is their mask, `without_alpha` removes it first.

    Args:
        pixels: (h, w, channels); the luminance is masked where any channel of RGB is.
        alpha: Whether the last channel is alpha.
        channels: Number of channels to return.
        name: Name of the file, for error messages.

    Raises:
        UserError: There is no such conversion.
    """
    if (mask := mask_of(pixels)) is not None:
        pixels = fit_channels(np.ma.getdata(pixels), alpha, channels, name)
        if mask.shape[2] != pixels.shape[2] and alpha:
            mask = mask[:, :, :-1]
        if mask.shape[2] != pixels.shape[2]:
            mask = np.repeat(mask.any(axis=2, keepdims=True), channels, axis=2)
        return masked(pixels, mask)
    count = pixels.shape[2]
    if count == channels:
        return pixels
    if alpha and channels in (1, 3) and count in (2, 4):
        if pixels.dtype.kind != "u":
            raise UserError(
                f"{printable(name)} has transparency in {pixels.dtype.name} values, which have no "
                "white to compose them over; save it without",
                path=path_of(name),
            )
        pixels = _over_white(pixels)
    match pixels.shape[2], channels:
        case (1, 1) | (3, 3):
            return pixels
        case (1, 3):
            return np.repeat(pixels, 3, axis=2)
        case (3, 1):
            return _luminance(pixels)
    has = "1 channel" if count == 1 else f"{count} channels"
    raise UserError(
        f"{printable(name)} has {has}{', the last transparency' if alpha else ''}, not {channels}; "
        f"set the domain's channels to {count}",
        path=path_of(name),
    )


def without_alpha(pixels: Pixels, channels: int | None) -> Pixels:
    """Return pixels without alpha, the last channel, unless `channels` includes it."""
    return pixels if channels in (None, pixels.shape[2]) else contiguous(pixels[:, :, :-1])


def _over_white(pixels: Pixels) -> Pixels:
    """Compose unsigned colours with straight alpha, the last channel, over white."""
    white = np.iinfo(pixels.dtype).max
    wide: Pixels = pixels.astype(np.uint32 if pixels.dtype == np.uint8 else np.uint64)
    colours, alpha = wide[:, :, :-1], wide[:, :, -1:]
    mixed: Pixels = (colours * alpha + white * (white - alpha) + white // 2) // white
    return mixed.astype(pixels.dtype)


def _luminance(pixels: Pixels) -> Pixels:
    """Return RGB as grey (ITU-R BT.601, with the weights of Pillow), at any bit depth."""
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    whole = pixels.dtype.kind != "f"
    wide: Pixels = pixels.astype(np.int64 if whole else np.float64)
    grey: Pixels = wide @ np.array([19595, 38470, 7471], wide.dtype)  # of 65536
    grey = (grey + 0x8000) // 65536 if whole else grey / 65536
    return grey[:, :, None].astype(pixels.dtype)


def from_cmyk(inks: NDArray[Any]) -> NDArray[Any]:
    """Convert unsigned CMYK (h, w, 4) to RGB: the product of the transmitted light."""
    white = np.iinfo(inks.dtype).max
    left = white - inks.astype(np.float64)
    return np.rint(left[:, :, :3] * left[:, :, 3:] / white).astype(inks.dtype)


def unpremultiplied(pixels: NDArray[Any]) -> NDArray[Any]:
    """Convert premultiplied alpha to straight alpha; colours stay 0 where alpha is 0."""
    if pixels.dtype.kind != "u":
        raise Refused(f"has premultiplied alpha in {pixels.dtype.name} values, which is not read")
    colours, alpha = pixels[:, :, :-1], pixels[:, :, -1:]
    if (colours > alpha).any():
        raise Refused("has premultiplied colours that are larger than their alpha")
    white = np.iinfo(pixels.dtype).max
    straight = np.rint(colours * (white / np.maximum(alpha, 1).astype(np.float64)))
    return np.concatenate([straight.astype(pixels.dtype), alpha], axis=2)


def from_pillow(image: Image.Image, nodata: NoData | None = None) -> tuple[Pixels, bool]:
    """Return the pixels of a Pillow image, masked where they have no data, and whether the last
    channel is alpha."""
    mode = CONVERTED.get(image.mode)
    if mode is None:
        raise Refused(f"has the mode {image.mode} of Pillow; convert it to RGB first")
    if "transparency" in image.info:
        mode = {"L": "LA", "RGB": "RGBA"}.get(mode, mode)
    values = np.asarray(image if mode == image.mode else image.convert(mode))
    alpha = mode in ("LA", "RGBA")
    mask = None if nodata is None else missing(values, nodata, alpha=alpha)
    return convert_masked(values, mask), alpha


def to_pil(pixels: Pixels) -> Image.Image:
    """Return pixels as a Pillow image.

    Args:
        pixels: uint8 of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 channels (RGBA), or uint16 of 1.

    Raises:
        UserError: Pillow has no such image.
    """
    dtype, channels = pixels.dtype.name, pixels.shape[2]
    if (dtype, channels) != ("uint16", 1) and not (dtype == "uint8" and channels in (1, 2, 3, 4)):
        raise UserError(f"Pillow has no mode for {channels} channels of {dtype}; use the array")
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)


def same_size(image: Image.Image, header: Header) -> Image.Image:
    """Return the image; raise Refused if Pillow reads another size from it than `header` has."""
    if image.size != (header.width, header.height):
        raise Refused(
            f"{DAMAGED}: its header has the size {header.width}x{header.height}, its image "
            f"{image.width}x{image.height}"
        )
    return image


def resize(pixels: Pixels, height: int, width: int, resample: str = "bicubic") -> Pixels:
    """Return pixels of the same dtype and channels at another size.

    Integers are rounded and kept within their dtype. Masked values do not contribute: the weights
    of the filter are renormalized, and the result is masked where the sum of weights is too small.

    Args:
        pixels: (h, w, channels); returned unchanged if they have the size.
        height: New height.
        width: New width.
        resample: bicubic or bilinear (antialiased when downsampling), or nearest.

    Raises:
        UserError: `resample` is unknown.
    """
    if resample not in FILTERS:
        raise UserError(f"resample must be one of {', '.join(FILTERS)}, not {resample!r}")
    if pixels.shape[:2] == (height, width):
        return pixels
    size, kind, mask = (width, height), FILTERS[resample], mask_of(pixels)
    pixels = np.ma.getdata(pixels)
    if mask is None and pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.asarray(Image.fromarray(pixels).resize(size, kind))
    result = np.empty((height, width, pixels.shape[2]), dtype=pixels.dtype)
    missing = np.zeros(result.shape, bool)
    # Channel by channel: Pillow would interpret the second or fourth channel as alpha.
    for channel in range(pixels.shape[2]):
        plane = np.ascontiguousarray(pixels[:, :, channel])
        if pixels.dtype != np.uint8 or mask is not None:
            plane = plane.astype(np.float32)
        if mask is None:
            scaled = np.asarray(Image.fromarray(plane).resize(size, kind))
        else:
            scaled, missing[:, :, channel] = _resize_masked(plane, mask[:, :, channel], size, kind)
        if pixels.dtype.kind in "iu" and scaled.dtype.kind == "f":
            limits = np.iinfo(pixels.dtype)
            scaled = np.rint(scaled).clip(limits.min, limits.max)
        result[:, :, channel] = scaled
    return masked(result, missing)


def _resize_masked(
    plane: NDArray[Any], mask: Mask, size: tuple[int, int], kind: Image.Resampling
) -> tuple[NDArray[Any], Mask]:
    """Normalized convolution (Knutsson 1993): filtered values divided by filtered weights."""
    valid = ~mask
    low, high = plane.min(initial=np.inf, where=valid), plane.max(initial=-np.inf, where=valid)
    values, weights = (
        np.asarray(Image.fromarray(one).resize(size, kind))
        for one in (np.where(valid, plane, 0), valid.astype(np.float32))
    )
    kept = weights >= LEAST_WEIGHT
    values = np.divide(values, weights, out=np.zeros_like(values), where=kept)
    # At the border of the data, a bicubic filter overshoots more than elsewhere.
    values[kept] = values[kept].clip(low, high)
    return values, ~kept
