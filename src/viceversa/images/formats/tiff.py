"""TIFF of any dtype and number of channels, by tifffile, without its silent repairs."""

from __future__ import annotations

import json
import logging
import math
import re
from contextlib import suppress
from enum import IntEnum
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import TIFF, TiffFile, TiffPage

from ..header import (
    DAMAGED,
    MAX_PAGES,
    UNKNOWN,
    Header,
    ImageFile,
    Refused,
    Tags,
    Window,
    mode_name,
)
from ..pixels import from_cmyk, unpremultiplied
from .resolution import of_tiff
from .tiff_rows import JPEG, PageRows, channels_last, check_segments, segment_bytes

# tifffile logs its repairs. Files whose pixels it would change are refused here; the log is silent
# unless an application configures it.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

MINISWHITE, MINISBLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
# photometric interpretation -> name, channels
BASES = {
    MINISWHITE: ("grey", 1),
    MINISBLACK: ("grey", 1),
    RGB: ("RGB", 3),
    PALETTE: ("palette", 1),
    CMYK: ("CMYK", 4),
    YCBCR: ("YCbCr", 3),
}
GEOMETRY = (33550, 33922, 34264, 34735, 34736, 34737)  # of GeoTIFF
TYPES = {2: "s", 3: "H", 12: "d"}  # ASCII, SHORT and DOUBLE, as tifffile takes them
# none, CCITT RLE, T.4 and T.6, LZW, JPEG, deflate (2 numbers), PackBits, LZMA, Zstandard
COMPRESSIONS = (1, 2, 3, 4, 5, JPEG, 8, 32946, 32773, 34925, 50000)
NO_DIALECT: dict[str, Any] = {f"is_{flag}": False for flag in TIFF.FILE_FLAGS}


def open_tiff(file: BinaryIO, channels: int | None, pages: str) -> ImageFile:
    """Open a TIFF or BigTIFF. Reduced copies and masks do not count as pages.

    tifffile writes an array (h, w, 6) as h pages of (w, 6) with a note on the shape. Such pages
    are read as one image if `channels`, the channels of the domain, equals 6.
    """
    size = file.seek(0, 2)
    file.seek(0)
    tiff = TiffFile(file, name="image.tif", _multifile=False, **NO_DIALECT)
    with suppress(IndexError):
        tiff.pages[MAX_PAGES]
        raise Refused(f"has more than {MAX_PAGES} pages")
    file.seek(tiff.pages.next_page_offset or 0)  # where tifffile stopped; 0 unless it failed
    if file.read(tiff.tiff.offsetsize) != bytes(tiff.tiff.offsetsize):
        raise Refused(f"{DAMAGED}: its chain of pages is broken")
    every = [page for page in tiff.pages if isinstance(page, TiffPage)]
    kept = [page for page in every if not (page.is_reduced or page.is_mask)]
    if not kept:
        raise Refused("has no page of full size")

    def pixels(page: int, indices: bool) -> NDArray[Any]:
        return _pixels(kept[page], indices, file, size)

    count = len(kept)
    opened = ImageFile(
        lambda n: _header(kept[n], count),
        pixels,
        lambda n: _tags(kept[n], every[0].description),
        count,
        lambda n: _rows(kept[n], file, size),
    )
    shape, axes = _array_shape(kept)
    return _channels_last(opened, shape) if _is_image(shape, axes, channels, pages) else opened


def _array_shape(pages: list[TiffPage]) -> tuple[tuple[int, ...], str]:
    """Return shape and axes of an array that tifffile wrote as pages; () for other files."""
    page = pages[0]
    try:
        described = json.loads(page.shaped_description or "{}")
        shape, axes = tuple(described.get("shape", ())), str(described.get("axes", ""))
        fits = shape[-2:] == page.shape and math.prod(shape[:-2]) == len(pages) and min(shape) > 0
    except (ValueError, TypeError, AttributeError):  # the text of another program
        return (), ""
    return (shape, axes) if fits and len(pages) > 1 and page.samplesperpixel == 1 else ((), "")


def _is_image(shape: tuple[int, ...], axes: str, channels: int | None, pages: str) -> bool:
    """Return whether the last axis of an array stored as pages is channels.

    It is if it equals `channels`. Raises Refused if the file is ambiguous.
    """
    if not shape or axes.endswith("YX"):
        return False
    if axes.endswith(("YXS", "YXC")):
        return True
    count, last, images = math.prod(shape[:-2]), shape[-1], math.prod(shape[:-3])
    every = pages == "bands"
    stack = every and channels in (None, count)  # the pages are the channels of the domain
    if channels in (last, last * images if every else last) and not stack:
        return True
    if pages == "refuse":
        several = "one image" if images == 1 else f"{images} images"
        raise Refused(
            f"contains an array of shape {shape}, which is either {several} of "
            f"{shape[-2]}x{shape[-3]} with {last} channels or {count} pages of {last}x{shape[-2]}; "
            f"set the domain's channels to {last} for the former, or its pages (an index, or "
            "bands) for the latter"
        )
    return False


def _channels_last(opened: ImageFile, shape: tuple[int, ...]) -> ImageFile:
    """Read pages of (width, channels) values as images (height, width, channels)."""
    height, width, channels = shape[-3:]

    def header(page: int) -> Header:
        mode = mode_name("RGB" if channels == 3 else "grey", channels)
        return Header(height, width, channels, opened.header(page * height).dtype, mode)

    def pixels(page: int, indices: bool) -> NDArray[Any]:
        rows = range(page * height, (page + 1) * height)
        return np.stack([opened.pixels(row, indices)[:, :, 0] for row in rows])

    def tags(page: int) -> Tags:
        return opened.tags(page * height)._replace(geometry=(), resolution=UNKNOWN)

    return ImageFile(header, pixels, tags, opened.pages // height)


def _tags(page: TiffPage, description: str) -> Tags:
    icc, metadata, nodata = (page.tags.valueof(code) for code in (34675, 42112, 42113))
    plain = page.photometric in (MINISBLACK, RGB) and page.bitspersample >= 8
    geometry = [tag for code in GEOMETRY if (tag := page.tags.get(code)) and tag.dtype in TYPES]
    return Tags(
        icc if isinstance(icc, bytes) else b"",
        metadata if isinstance(metadata, str) else "",
        nodata.strip() if isinstance(nodata, str) and plain else "",
        ()
        if _orientation(page) != 1
        else tuple((tag.code, TYPES[tag.dtype], tag.count, tag.value, True) for tag in geometry),
        of_tiff(page, description, _orientation(page)),
    )


def _orientation(page: TiffPage) -> int:
    orientation = page.tags.valueof(274, 1)
    return int(orientation) if orientation in range(1, 9) else 1


def _header(page: TiffPage, pages: int) -> Header:
    """Return the header of a page. Raises Refused for a kind of image that is not supported."""
    if 262 not in page.tags or page.photometric not in BASES:
        name = _name(page.photometric)
        raise Refused(f"is a TIFF of {name}, which is not read; convert it to grey or RGB")
    if page.compression not in COMPRESSIONS:
        name = _name(page.compression)
        raise Refused(f"is a TIFF compressed by {name}, which is not read; use deflate or LZW")
    bits, dtype, channels = page.bitspersample, page.dtype, page.samplesperpixel
    if dtype is None or not isinstance(bits, int):
        raise Refused(f"is a TIFF with {bits} bits a channel, which is not read")
    if dtype.kind not in "biuf":
        raise Refused(f"contains {dtype.name} values, not real numbers")
    base, stored = BASES[page.photometric]
    unsigned, whole = dtype.kind in "bu", bits in (8, 16)
    valid = {
        MINISBLACK: True,
        RGB: True,
        MINISWHITE: unsigned,
        PALETTE: unsigned and bits <= 16,
        CMYK: unsigned and whole and page.tags.valueof(332, 1) == 1,  # InkSet
        YCBCR: unsigned and bits == 8 and (page.compression == JPEG or _is_jpeg_ycbcr(page)),
    }[page.photometric]
    if not valid or (bits < 8 and bits not in (1, 2, 4)):
        raise Refused(f"is a TIFF of {base} with {bits} bits in a format that is not read")
    if page.extrasamples and unsigned and bits not in (8, 16, 32, 64):
        raise Refused(f"is a TIFF of {bits} bits with more channels, which is not read")
    if page.imagedepth != 1 or page.tiledepth != 1 or page.jpegheader is not None:
        raise Refused("is a TIFF with a vendor extension that is not read")
    if pages == 1 and _is_stack(page):
        raise Refused("is a stack in a single page; save it as pages, or as .npy")
    extra = channels - stored
    if extra and (extra < 0 or page.photometric not in (MINISBLACK, RGB)):
        raise Refused(f"is {base} in {channels} channels, which is not read")
    alpha = extra == 1 and tuple(page.extrasamples) in ((1,), (2,))
    if base in ("grey", "RGB"):
        mode = mode_name(base, channels, alpha)
    else:
        mode, channels = base, 3
        dtype = _palette(page).dtype if base == "palette" else dtype
    return Header(
        page.imagelength, page.imagewidth, channels, dtype.name, mode, alpha, _orientation(page)
    )


def _name(value: Any) -> str:
    """Return the name and number of a constant of the format, or the number."""
    return f"{value.name.lower()} ({value.value})" if isinstance(value, IntEnum) else str(value)


def _is_stack(page: TiffPage) -> bool:
    """Return whether more planes are stored after a page than its directory lists."""
    imagej = re.search(r"^images=(\d+)", page.imagej_description or "", re.MULTILINE)
    return bool(imagej and int(imagej[1]) > 1) or '"truncated": true' in (
        page.shaped_description or ""
    )


def _is_jpeg_ycbcr(page: TiffPage) -> bool:
    """Return whether YCbCr has the coefficients and the range of JPEG."""

    def equal(code: int, usual: tuple[float, ...]) -> bool:
        value = page.tags.valueof(code)
        if value is None:
            return True
        numerators, denominators = np.asarray(value, float).reshape(-1, 2).T
        return np.allclose(numerators, denominators * usual, atol=1e-3)

    return (
        not page.is_subsampled
        and equal(529, (0.299, 0.587, 0.114))
        and equal(532, (0, 255, 128, 255, 128, 255))
    )


def _pixels(page: TiffPage, indices: bool, file: BinaryIO, size: int) -> NDArray[Any]:
    check_segments(page, size)
    if page.compression == JPEG:
        for index in range(len(page.dataoffsets)):
            segment_bytes(page, file, index)
    # (separate channels, depth 1, height, width, contiguous channels)
    values = page.asarray(squeeze=False, maxworkers=1)
    return _converted(page, channels_last(values[:, 0]), indices)


def _rows(page: TiffPage, file: BinaryIO, size: int) -> Window | None:
    """Return a row reader of a page; None for a page that is decoded as a whole."""
    if _orientation(page) != 1:
        return None
    rows = PageRows(page, file, size)
    if rows.together == page.imagelength:
        return None
    return Window(
        lambda start, end, indices: _converted(page, rows.read(start, end), indices), rows.together
    )


def _converted(page: TiffPage, values: NDArray[Any], indices: bool) -> NDArray[Any]:
    """Convert stored values (h, w, channels) to grey or RGB, or to class indices."""
    if not indices:
        return _decoded(page, values)
    if page.photometric == MINISWHITE:
        raise Refused("has 0 as white: class indices need 0 as black, or a palette")
    return values


def _decoded(page: TiffPage, values: NDArray[Any]) -> NDArray[Any]:
    """Convert stored values to grey or RGB: apply palettes, invert, convert CMYK and YCbCr."""
    bits = page.bitspersample
    if page.photometric == MINISWHITE:
        values = ~values if bits == 1 else (2**bits - 1 - values).astype(values.dtype)
    if page.photometric == PALETTE:
        return _palette(page)[values[:, :, 0].astype(np.intp)]
    if page.photometric == CMYK:
        return from_cmyk(values)
    if page.photometric == YCBCR and page.compression != JPEG:  # the JPEG codec returns RGB
        size = values.shape[1], values.shape[0]
        return np.asarray(Image.frombytes("YCbCr", size, values.tobytes()).convert("RGB"))
    if 1 < bits < 8:
        values = values * np.uint8(255 // (2**bits - 1))
    return unpremultiplied(values) if tuple(page.extrasamples) == (1,) else values


def _palette(page: TiffPage) -> NDArray[Any]:
    """Return the colours of a palette (number, 3), as uint8 if that changes none."""
    table = page.colormap
    if table is None or table.shape != (3, 2**page.bitspersample):
        raise Refused(f"{DAMAGED}: its palette does not fit its pixels")
    table = np.ascontiguousarray(table.T)
    if table.max() < 256:  # written with 8 bits instead of the 16 of the format
        return table.astype(np.uint8)
    high = table >> 8
    eight = (table == high * 257).all() or (table == high * 256).all()
    return high.astype(np.uint8) if eight else table
