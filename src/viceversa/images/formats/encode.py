"""Pixels -> files, in the format that the name says; besides pixels only the tags given."""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...errors import UserError
from ...files import write_bytes
from ..bands import to_pil
from ..endings import JPEG_SUFFIXES
from .layout import Pixels, Tags

HOLDS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    ".png": (("uint8", "uint16"), (1, 2, 3, 4)),
    **dict.fromkeys(JPEG_SUFFIXES, (("uint8",), (1, 3))),
    ".webp": (("uint8",), (3, 4)),
    ".bmp": (("uint8",), (1, 3)),
    ".gif": (("uint8",), (1,)),
}
"""What the formats hold as it is; TIFF and NPY hold everything."""
ALL = (".tif", ".tiff", ".npy")
NO_TAGS = Tags()


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


def write(path: Path, pixels: Pixels, tags: Tags = NO_TAGS) -> None:
    """Write a file in the format its name says, with the tags that it can hold; JPEG and WebP at
    quality 95.

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
    write_bytes(path, to_bytes(pixels, suffix, tags), durable=False)


def to_bytes(pixels: Pixels, suffix: str, tags: Tags = NO_TAGS) -> bytes:
    """The contents of a file in the format of an ending that can hold the pixels.

    A TIFF holds all tags, PNG, JPEG and WebP the ICC profile, the other formats none.
    """
    suffix, pixels, out = suffix.lower(), np.ascontiguousarray(pixels), BytesIO()
    if suffix == ".npy":
        np.save(out, pixels, allow_pickle=False)
    elif suffix in (".tif", ".tiff"):
        _tiff(out, pixels, tags)
    elif pixels.dtype == np.uint16:
        import imagecodecs  # here and below, since hardly a run needs them

        return _with_profile(bytes(imagecodecs.png_encode(pixels)), tags.icc)
    else:
        kind = "JPEG" if suffix in JPEG_SUFFIXES else suffix[1:].upper()
        options: dict[str, dict[str, Any]] = {
            "JPEG": {"quality": 95},
            "WEBP": {"quality": 95},
            "GIF": {"optimize": False},  # which would turn grey into a palette of the greys in use
        }
        profile = {"icc_profile": tags.icc} if tags.icc and kind in ("PNG", "JPEG", "WEBP") else {}
        to_pil(pixels).save(out, kind, **options.get(kind, {}), **profile)
    return out.getvalue()


def _with_profile(png: bytes, icc: bytes) -> bytes:
    """A PNG with an ICC profile: its chunk stands behind the header, which has 25 bytes."""
    if not icc:
        return png
    body = b"iCCPICC profile\0\0" + zlib.compress(icc)
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return png[:33] + chunk + png[33:]


def _tiff(out: BytesIO, pixels: Pixels, tags: Tags) -> None:
    """One page, deflated. Bands beyond grey and RGB are declared as unspecified, never as alpha."""
    import tifffile

    bands = pixels.shape[2]
    rgb = bands == 3 and pixels.dtype.kind == "u"
    known = ((42112, tags.metadata), (42113, tags.nodata))
    texts = [(code, "s", 0, text, True) for code, text in known if text]
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
        iccprofile=tags.icc or None,
        extratags=[*tags.geometry, *texts],
    )
