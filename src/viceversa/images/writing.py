"""Write image files in the format of the suffix."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from PIL.PngImagePlugin import PngInfo

from ..errors import UserError
from ..files import ABOUT, write_bytes
from .formats.ome_zarr import SUFFIX
from .formats.png import as_chunk
from .formats.slides import SLIDES
from .header import UNKNOWN, Pixels, Tags
from .pixels import to_pil
from .sources import JPEG_SUFFIXES

# dtypes and numbers of channels that the formats support; TIFF, NPY and OME-Zarr support all.
SUPPORTED: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    ".png": (("uint8", "uint16"), (1, 2, 3, 4)),
    **dict.fromkeys(JPEG_SUFFIXES, (("uint8",), (1, 3))),
    ".webp": (("uint8",), (3, 4)),
    ".bmp": (("uint8",), (1, 3)),
    ".gif": (("uint8",), (1,)),
}
SUPPORT_ALL = (".tif", ".tiff", ".npy")
NO_TAGS = Tags()


def suffix_for(suffix: str, pixels: Pixels | tuple[DTypeLike, int]) -> str:
    """Return a suffix whose format supports the pixels: `suffix` itself, else .png or .tif.

    `pixels` may be given as (dtype, channels). Results of slides are TIFF.
    """
    dtype, channels = pixels if isinstance(pixels, tuple) else (pixels.dtype, pixels.shape[2])
    candidates = () if suffix.lower() in SLIDES else (suffix, ".png")
    return next((one for one in candidates if _supports(one.lower(), dtype, channels)), ".tif")


def _supports(suffix: str, dtype: DTypeLike, channels: int) -> bool:
    dtypes, counts = SUPPORTED.get(suffix, ((), ()))
    return suffix in (*SUPPORT_ALL, SUFFIX) or (
        np.dtype(dtype).name in dtypes and channels in counts
    )


def stores_alpha(suffix: str, dtype: DTypeLike, channels: int) -> bool:
    """Return whether a format stores alpha as the last of 2 or 4 channels."""
    tiff = suffix.lower() in (".tif", ".tiff")
    alpha = suffix.lower() in (".png", ".webp") or (tiff and np.dtype(dtype).kind == "u")
    return alpha and _supports(suffix.lower(), dtype, channels)


def write(
    path: Path, pixels: Pixels, tags: Tags = NO_TAGS, about: str = "", alpha: bool = False
) -> None:
    """Write a file in the format of its suffix.

    Args:
        path: The file. JPEG and WebP are written with quality 95.
        pixels: (h, w, channels).
        tags: Metadata, written if the format supports it.
        about: ASCII text about the image, which PNG files of 8 bits store.
        alpha: Whether the last of 2 or 4 channels is alpha in a TIFF; in PNG and WebP it always is.

    Raises:
        UserError: The format does not support the pixels, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUPPORTED and suffix not in SUPPORT_ALL:
        known = " ".join([*SUPPORTED, *SUPPORT_ALL])
        raise UserError(
            f"{path} does not have the suffix of a supported format; use one of {known}", path=path
        )
    if (other := suffix_for(suffix, pixels)) != suffix:
        channels = pixels.shape[2]
        count = f"{channels} channel{'s' * (channels > 1)}"
        raise UserError(f"{path} cannot store {count} of {pixels.dtype}; use {other}", path=path)
    write_bytes(path, to_bytes(pixels, suffix, tags, about, alpha), durable=False)


def to_bytes(
    pixels: Pixels, suffix: str, tags: Tags = NO_TAGS, about: str = "", alpha: bool = False
) -> bytes:
    """Return the contents of the file that `write` would write with a suffix.

    TIFF stores all tags, PNG and JPEG store the ICC profile and the resolution, WebP stores the ICC
    profile, and the other formats store no tags.
    """
    suffix, pixels, out = suffix.lower(), np.ascontiguousarray(pixels), BytesIO()
    if suffix == ".npy":
        np.save(out, pixels, allow_pickle=False)
    elif suffix in (".tif", ".tiff"):
        _write_tiff(out, pixels, tags, alpha)
    elif pixels.dtype == np.uint16:
        import imagecodecs  # imported here: few runs need it

        png = bytes(imagecodecs.png_encode(pixels))
        chunks = as_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(tags.icc)) * bool(tags.icc)
        if tags.resolution != UNKNOWN:
            metres = [round(one / 0.0254) for one in tags.resolution]
            chunks += as_chunk(b"pHYs", struct.pack(">IIB", *metres, 1))
        return png[:33] + chunks + png[33:]  # after the header chunk
    else:
        kind = "JPEG" if suffix in JPEG_SUFFIXES else suffix[1:].upper()
        options: dict[str, Any] = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
        if kind == "GIF":
            options["optimize"] = False  # optimizing would replace grey by a palette
        if tags.icc and kind in ("PNG", "JPEG", "WEBP"):
            options["icc_profile"] = tags.icc
        most = {"PNG": 1e8, "JPEG": 65535.0}.get(kind, 0.0)
        if tags.resolution != UNKNOWN and max(tags.resolution) <= most:
            options["dpi"] = tags.resolution
        if about and kind == "PNG":
            options["pnginfo"] = PngInfo()
            options["pnginfo"].add_text(ABOUT, about)
        to_pil(pixels).save(out, kind, **options)
    return out.getvalue()


def _write_tiff(out: BytesIO, pixels: Pixels, tags: Tags, alpha: bool) -> None:
    """Write one page, deflated."""
    import tifffile

    channels = pixels.shape[2]
    tifffile.imwrite(
        out,
        pixels[None] if channels > 1 else pixels[None, :, :, 0],
        metadata=None,
        software=False,
        **tiff_options(pixels.dtype, channels, tags, alpha),
    )


def tiff_options(dtype: DTypeLike, channels: int, tags: Tags, alpha: bool) -> dict[str, Any]:
    """Return the arguments of tifffile for a deflated page with tags.

    Channels after grey or RGB are unspecified, except for alpha.
    """
    rgb = channels - alpha == 3 and np.dtype(dtype).kind == "u"
    others = () if rgb else ("unspecified",) * (channels - alpha - 1)
    texts = [(42112, tags.metadata), (42113, tags.nodata)]
    known = tags.resolution != UNKNOWN
    resolution = {"resolution": tags.resolution, "resolutionunit": "INCH"} if known else {}
    return resolution | {
        "photometric": "rgb" if rgb else "minisblack",
        "planarconfig": "contig" if channels > 1 else None,
        "extrasamples": (*others, *("unassalpha",) * alpha) or None,
        "compression": "adobe_deflate",
        "predictor": True,
        "iccprofile": tags.icc or None,
        "extratags": [
            *tags.geometry,
            *((code, "s", 0, text, True) for code, text in texts if text),
        ],
    }
