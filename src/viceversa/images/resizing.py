"""Pixels of another size, of any depth and any bands."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..errors import UserError
from .formats.layout import Pixels
from .nodata import LEAST_WEIGHT, Mask, mask_of, masked

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}
LARGEST_SIDE = 2**16  # pixels


def is_side(text: str) -> bool:
    """Whether a text is a number of pixels; very long numbers are none."""
    return text.isdecimal() and len(text) < 10 and int(text) > 0


def resize(pixels: Pixels, height: int, width: int, resample: str = "bicubic") -> Pixels:
    """The same dtype and bands at another size; as it is where it already has the size.

    `resample` is bicubic or bilinear (anti-aliased where it shrinks), or nearest. Integers are
    rounded and kept within their dtype. Masked values do not contribute: the filter's weights are
    renormalised over the others, and where hardly any weight is left the result is masked.
    """
    if resample not in FILTERS:
        raise UserError(f"images are resized by {', '.join(FILTERS)}, not {resample!r}")
    if pixels.shape[:2] == (height, width):
        return pixels
    size, chosen = (width, height), FILTERS[resample]
    if (mask := mask_of(pixels)) is not None:
        return _masked(np.ma.getdata(pixels), mask, size, chosen)
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.asarray(Image.fromarray(pixels).resize(size, chosen))
    # Band by band: Pillow would take the second or fourth of them for transparency.
    made = np.empty((height, width, pixels.shape[2]), dtype=pixels.dtype)
    for band in range(pixels.shape[2]):
        plane = np.ascontiguousarray(pixels[:, :, band])
        if pixels.dtype != np.uint8:
            plane = plane.astype(np.float32)
        scaled = np.asarray(Image.fromarray(plane).resize(size, chosen))
        if pixels.dtype.kind in "iu" and scaled.dtype.kind == "f":
            limits = np.iinfo(pixels.dtype)
            scaled = np.rint(scaled).clip(limits.min, limits.max)
        made[:, :, band] = scaled
    return made


UNCROPPED = {
    "resize_and_crop": "resize", "crop": "none", "scale_width_and_crop": "scale_width",
}  # fmt: skip
"""`data.preprocess` -> the same for whole images: what training crops out of 286x286 is then
256x256 (pix2pix sec. 6.2 tests so)."""


def preprocessed(
    height: int, width: int, preprocess: str, load_size: int, crop_size: int
) -> tuple[int, int]:
    """The (height, width) that `data.preprocess` resizes an image to, before any crop."""
    match preprocess:
        case "resize_and_crop":
            return load_size, load_size
        case "resize":
            return crop_size, crop_size
        case "scale_width" | "scale_width_and_crop":
            return max(1, round(height * load_size / width)), load_size
        case "scale_shortside":
            scale = load_size / min(height, width)
            return max(1, round(height * scale)), max(1, round(width * scale))
    return height, width


def _masked(pixels: Pixels, mask: Mask, size: tuple[int, int], chosen: Image.Resampling) -> Pixels:
    """Normalised convolution (Knutsson 1993): the filtered values over the filtered weights."""
    shape = (size[1], size[0], pixels.shape[2])
    made, missing = np.empty(shape, pixels.dtype), np.empty(shape, bool)
    for band in range(pixels.shape[2]):
        plane, valid = pixels[:, :, band].astype(np.float32), ~mask[:, :, band]
        low, high = plane.min(initial=np.inf, where=valid), plane.max(initial=-np.inf, where=valid)
        values, weights = (
            np.asarray(Image.fromarray(one).resize(size, chosen))
            for one in (np.where(valid, plane, 0), valid.astype(np.float32))
        )
        kept = weights >= LEAST_WEIGHT
        values = np.divide(values, weights, out=np.zeros_like(values), where=kept)
        # Between data and no data, a bicubic filter overshoots more than elsewhere.
        values[kept] = values[kept].clip(low, high)
        if pixels.dtype.kind in "iu":
            values = np.rint(values)
        made[:, :, band], missing[:, :, band] = values, ~kept
    return masked(made, missing)
