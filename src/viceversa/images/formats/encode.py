"""Pixels -> files, in the format that the name says. Nothing but pixels is written."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from ...errors import UserError
from ...files import write_bytes
from ..bands import to_pil
from ..endings import JPEG_SUFFIXES
from .layout import Pixels

HOLDS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    ".png": (("uint8", "uint16"), (1, 2, 3, 4)),
    **dict.fromkeys(JPEG_SUFFIXES, (("uint8",), (1, 3))),
    ".webp": (("uint8",), (3, 4)),
    ".bmp": (("uint8",), (1, 3)),
    ".gif": (("uint8",), (1,)),
}
"""What the formats hold as it is; TIFF and NPY hold everything."""
ALL = (".tif", ".tiff", ".npy")


def suffix_for(suffix: str, pixels: Pixels | tuple[DTypeLike, int]) -> str:
    """The ending itself where its format holds that depth and those bands, else .png or .tif.

    `pixels` may be given as (dtype, bands).
    """
    dtype, bands = pixels if isinstance(pixels, tuple) else (pixels.dtype, pixels.shape[2])
    if _holds(suffix.lower(), dtype, bands):
        return suffix
    return ".png" if _holds(".png", dtype, bands) else ".tif"


def _holds(suffix: str, dtype: DTypeLike, bands: int) -> bool:
    if suffix in ALL:
        return True
    dtypes, numbers = HOLDS.get(suffix, ((), ()))
    return np.dtype(dtype).name in dtypes and bands in numbers


def write(path: Path, pixels: Pixels) -> None:
    """Write a file in the format its name says; JPEG and WebP at quality 95.

    Raises UserError where the format cannot hold the dtype or the bands.
    """
    suffix = path.suffix.lower()
    if suffix not in HOLDS and suffix not in ALL:
        known = " ".join([*HOLDS, *ALL])
        raise UserError(f"{path} has the ending of no format that is written; take one of {known}")
    if not _holds(suffix, pixels.dtype, pixels.shape[2]):
        dtype, bands = pixels.dtype, pixels.shape[2]
        raise UserError(
            f"{path} cannot hold {bands} band{'s' * (bands > 1)} of {dtype}; "
            f"{suffix_for(suffix, pixels)} can"
        )
    write_bytes(path, to_bytes(pixels, suffix), durable=False)


def to_bytes(pixels: Pixels, suffix: str) -> bytes:
    """The contents of a file in the format of an ending that can hold the pixels."""
    suffix, pixels, out = suffix.lower(), np.ascontiguousarray(pixels), BytesIO()
    if suffix == ".npy":
        np.save(out, pixels, allow_pickle=False)
    elif suffix in (".tif", ".tiff"):
        _tiff(out, pixels)
    elif pixels.dtype == np.uint16:
        import imagecodecs  # here and below, since hardly a run needs them

        return bytes(imagecodecs.png_encode(pixels))
    else:
        kind = "JPEG" if suffix in JPEG_SUFFIXES else suffix[1:].upper()
        options: dict[str, dict[str, int]] = {
            "JPEG": {"quality": 95},
            "WEBP": {"quality": 95},
            "GIF": {"optimize": False},  # which would turn grey into a palette of the greys in use
        }
        to_pil(pixels).save(out, kind, **options.get(kind, {}))
    return out.getvalue()


def _tiff(out: BytesIO, pixels: Pixels) -> None:
    """One page, deflated. Bands beyond grey and RGB are declared as unspecified, never as alpha."""
    import tifffile

    bands = pixels.shape[2]
    rgb = bands == 3 and pixels.dtype.kind == "u"
    tifffile.imwrite(
        out,
        pixels[None] if bands > 1 else pixels[None, :, :, 0],
        photometric="rgb" if rgb else "minisblack",
        planarconfig="contig" if bands > 1 else None,
        extrasamples=("unspecified",) * (bands - 1) if bands > 1 and not rgb else None,
        compression="adobe_deflate",
        predictor=True,
        metadata=None,
        software=False,
    )
