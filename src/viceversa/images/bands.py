"""Numbers of an image, as they are: depth, bands, transparency. Nothing is clipped."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import UserError
from .formats.layout import Pixels, Refused
from .nodata import mask_of, masked, nodata_mask

NAN_HINT = "; if NaN means no data, set the domain's nodata to nan"
KEPT = ("uint8", "uint16", "int16", "float32")


def settled(values: NDArray[Any], indices: bool = False) -> NDArray[Any]:
    """Values of any file as uint8, uint16, int16 or float32, where each survives.

    bool becomes 0 and 255 (0 and 1 as `indices`); float16 and float64 are rounded to float32.
    Raises Refused for complex and other numbers, those that float32 changes, and NaN or infinity.
    """
    kind = values.dtype.kind
    if kind == "b":
        return values.astype(np.uint8) * np.uint8(1 if indices else 255)
    if kind in "iu":
        if values.dtype.name in KEPT:
            return values.astype(values.dtype.newbyteorder("="), copy=False)
        return _exact(values)
    if kind != "f":
        raise Refused(f"holds {values.dtype.name} values, not real numbers")
    # What is too large for float32 becomes infinite here and is counted below, not warned about.
    with np.errstate(over="ignore", invalid="ignore"):
        values = values.astype(np.float32)
    strange = values.size - int(np.isfinite(values).sum())
    if strange:
        hint = NAN_HINT if np.isnan(values).any() else ""
        raise Refused(
            f"holds {strange} values that are not finite (NaN, infinite or too large){hint}"
        )
    return values


def _exact(values: NDArray[Any]) -> NDArray[Any]:
    """Integers as float32, which holds each up to 2^24 and beyond it only some."""
    with np.errstate(over="ignore"):
        result = values.astype(np.float32)
    # Both ways back are exact: float64 for 32 bits; for 64, integers beyond 2^53 fail themselves.
    wide = values.astype(np.float64)
    changed = (result != wide) | (np.abs(wide) >= 2.0**53)
    if changed.any():
        value = values[changed].flat[0]
        raise Refused(
            f"holds the {values.dtype.name} value {value}, which float32 cannot keep exactly; "
            "convert it to uint16 or scale it first"
        )
    return result


def settled_masked(values: NDArray[Any], nodata: float | None, indices: bool = False) -> Pixels:
    """As `settled`; masked where the values are the no-data value or were masked before.

    Masked numbers become 0, since the dtype of the result may not hold the no-data value.
    """
    own, values = mask_of(values), np.ma.getdata(values)
    masks = [mask for mask in (own, nodata_mask(values, nodata)) if mask is not None]
    if not masks:
        return settled(values, indices)
    mask = np.logical_or.reduce(masks)
    return masked(settled(np.where(mask, values.dtype.type(0), values), indices), mask)


def contiguous(pixels: Pixels) -> Pixels:
    """Return an array, masked or not, in C order."""
    return masked(np.ascontiguousarray(np.ma.getdata(pixels)), mask_of(pixels))


def upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """(height, width, ...) turned as EXIF's orientation 1 to 8 says."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def fit_bands(pixels: Pixels, alpha: bool, channels: int, name: object) -> Pixels:
    """The bands a domain wants: grey repeats to RGB, RGB becomes luminance.

    Where the last band is `alpha`, it is laid over white for 1 or 3 channels. The luminance of a
    masked array is masked where any of its three bands is. Raises UserError that names the file
    for anything else.
    """
    if (mask := mask_of(pixels)) is not None:
        pixels = fit_bands(np.ma.getdata(pixels), alpha, channels, name)
        if mask.shape[2] == pixels.shape[2]:
            return masked(pixels, mask)
        if alpha:
            mask = mask[:, :, :-1]
        if mask.shape[2] != channels:
            mask = np.repeat(mask.any(axis=2, keepdims=True), channels, axis=2)
        return masked(pixels, mask)
    bands = pixels.shape[2]
    if bands == channels:
        return pixels
    if alpha and channels in (1, 3) and bands in (2, 4):
        if pixels.dtype.kind != "u":
            raise UserError(
                f"{name} has transparency in {pixels.dtype.name} values, for which no white is "
                "known to lay it over; save it without"
            )
        pixels = over_white(pixels)
    match pixels.shape[2], channels:
        case (1, 1) | (3, 3):
            return pixels
        case (1, 3):
            return np.repeat(pixels, 3, axis=2)
        case (3, 1):
            return luminance(pixels)
    has = "1 band" if bands == 1 else f"{bands} bands"
    raise UserError(
        f"{name} has {has}{', the last transparency' if alpha else ''}, not {channels}; set the "
        f"domain's channels to {bands}"
    )


def over_white(pixels: Pixels) -> Pixels:
    """Unsigned colours with straight alpha as last band, laid over white."""
    white = np.iinfo(pixels.dtype).max
    wide: Pixels = pixels.astype(np.uint32 if pixels.dtype == np.uint8 else np.uint64)
    colours, alpha = wide[:, :, :-1], wide[:, :, -1:]
    mixed: Pixels = (colours * alpha + white * (white - alpha) + white // 2) // white
    return mixed.astype(pixels.dtype)


def luminance(pixels: Pixels) -> Pixels:
    """RGB as grey, by ITU-R 601 with the weights of Pillow's convert("L"), at any depth."""
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    whole = pixels.dtype.kind != "f"
    wide: Pixels = pixels.astype(np.int64 if whole else np.float64)
    grey: Pixels = wide @ np.array([19595, 38470, 7471], wide.dtype)  # of 65536
    grey = (grey + 0x8000) // 65536 if whole else grey / 65536
    return grey[:, :, None].astype(pixels.dtype)


def from_cmyk(inks: NDArray[Any]) -> NDArray[Any]:
    """Unsigned (height, width, 4) amounts of ink as RGB, as light passes through all of them."""
    white = np.iinfo(inks.dtype).max
    left = white - inks.astype(np.float64)
    return np.rint(left[:, :, :3] * left[:, :, 3:] / white).astype(inks.dtype)


def unmultiplied(pixels: NDArray[Any]) -> NDArray[Any]:
    """Colours that were multiplied by their alpha, divided by it; nothing where it is 0."""
    if pixels.dtype.kind != "u":
        raise Refused(f"has colours multiplied by an alpha of {pixels.dtype.name}")
    colours, alpha = pixels[:, :, :-1], pixels[:, :, -1:]
    if (colours > alpha).any():
        raise Refused("has colours larger than the alpha that they are multiplied by")
    white = np.iinfo(pixels.dtype).max
    straight = np.rint(colours * (white / np.maximum(alpha, 1).astype(np.float64)))
    return np.concatenate([straight.astype(pixels.dtype), alpha], axis=2)


def unpacked(image: Image.Image, nodata: float | None = None) -> tuple[Pixels, bool]:
    """A Pillow image's own bands, and whether the last is transparency; masked if `nodata` is a
    value of theirs."""
    clear = "transparency" in image.info
    match image.mode:
        case "L" | "LA" | "La" | "1" if clear or image.mode in ("LA", "La"):
            image = image.convert("LA")
        case "P" | "RGB" if clear:
            image = image.convert("RGBA")
        case "PA" | "RGBa":
            image = image.convert("RGBA")
        case "1":
            image = image.convert("L")
        case "P" | "CMYK" | "YCbCr" | "RGBX":
            image = image.convert("RGB")
        case "L" | "RGB" | "RGBA" | "I" | "F" | "I;16" | "I;16L" | "I;16B" | "I;16N":
            pass
        case _:
            raise Refused(f"is of Pillow's mode {image.mode}; convert it to RGB first")
    values = settled_masked(np.asarray(image), nodata)
    pixels = values[:, :, None] if values.ndim == 2 else values
    return contiguous(pixels), image.mode in ("LA", "RGBA")


def to_pil(pixels: Pixels) -> Image.Image:
    """uint8 of 1 (grey), 2 (with alpha), 3 (RGB) or 4 bands (RGBA), or uint16 of 1, for Pillow."""
    dtype, bands = pixels.dtype.name, pixels.shape[2]
    if not (dtype == "uint8" and bands in (1, 2, 3, 4)) and not (dtype == "uint16" and bands == 1):
        raise UserError(f"Pillow has no image of {bands} bands of {dtype}; use the array itself")
    return Image.fromarray(pixels[:, :, 0] if bands == 1 else pixels)


def fits(image: Image.Image, height: int, width: int) -> Image.Image:
    """The image, if its decoder found the size that its header promised."""
    if image.size != (width, height):
        raise Refused(
            f"is damaged or cannot be read: its header says {width}x{height}, its image "
            f"{image.width}x{image.height}"
        )
    return image
