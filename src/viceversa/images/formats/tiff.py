"""TIFF of any depth and bands, by tifffile; strict where tifffile mends in silence."""

from __future__ import annotations

import json
import logging
import math
import re
from enum import IntEnum
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import TIFF, TiffFile, TiffPage

from ..bands import from_cmyk, unmultiplied
from .layout import Layout, Refused, Tags, guard, words
from .photos import Jpeg
from .tiff_pages import full_pages

# tifffile tells what it mends to a logger. What matters of it is refused here; the rest stays
# silent unless an application asks for it.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

MINISWHITE, MINISBLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
BASES = {
    MINISWHITE: ("grey", 1), MINISBLACK: ("grey", 1), RGB: ("RGB", 3), PALETTE: ("palette", 1),
    CMYK: ("CMYK", 4), YCBCR: ("YCbCr", 3),
}  # fmt: skip
GEOMETRY = (33550, 33922, 34264, 34735, 34736, 34737)  # of GeoTIFF
TYPES = {2: "s", 3: "H", 12: "d"}  # ASCII, SHORT and DOUBLE, as tifffile takes them
JPEG = 7
# none, CCITT RLE, T.4 and T.6, LZW, JPEG, deflate (2 numbers), PackBits, LZMA, Zstandard
COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32946, 32773, 34925, 50000)
PLAIN: dict[str, Any] = {f"is_{flag}": False for flag in TIFF.FILE_FLAGS}  # no maker's own dialect


class Tiff:
    """An opened TIFF or BigTIFF, of one page or many. Reduced copies and masks are no pages."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, most
        self._size = file.seek(0, 2)
        self._chain = full_pages(file)
        self.pages = len(self._chain)
        file.seek(0)
        self._tiff = TiffFile(file, name="image.tif", _multifile=False, **PLAIN)
        self._known: dict[int, tuple[TiffPage, Layout]] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array that tifffile wrote as grey pages; empty for all other files."""
        page = self._tiff.pages[self._chain[0]]
        assert isinstance(page, TiffPage)
        if self.pages == 1 or page.samplesperpixel != 1:
            return ()
        shape = self._described(page).get("shape")
        if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
            return ()
        fits = shape[-2:] == [page.imagelength, page.imagewidth]
        return tuple(shape) if fits and math.prod(shape[:-2]) == self.pages else ()

    @property
    def axes(self) -> str:
        """The axes of `shape`, such as YXC; empty if the file does not name them."""
        page = self._tiff.pages[self._chain[0]]
        assert isinstance(page, TiffPage)
        return str(self._described(page).get("axes", ""))

    @staticmethod
    def _described(page: TiffPage) -> dict[str, Any]:
        """The description that tifffile writes into the first page."""
        try:
            described = json.loads(page.shaped_description or "{}")
        except ValueError:
            return {}
        return described if isinstance(described, dict) else {}

    def tags(self, page: int) -> Tags:
        stored, layout = self._look(page)
        values = {code: stored.tags.valueof(code) for code in (34675, 42112, 42113)}
        geometry = (
            ()
            if layout.orientation != 1
            else tuple(
                (tag.code, TYPES[tag.dtype], tag.count, tag.value, True)
                for tag in map(stored.tags.get, GEOMETRY)
                if tag is not None and tag.dtype in TYPES
            )
        )
        icc, metadata, nodata = (values[code] for code in (34675, 42112, 42113))
        plain = stored.photometric in (MINISBLACK, RGB) and stored.bitspersample >= 8
        return Tags(
            icc if isinstance(icc, bytes) else b"",
            metadata if isinstance(metadata, str) else "",
            nodata.strip() if isinstance(nodata, str) and plain else "",
            geometry,
        )

    def layout(self, page: int) -> Layout:
        return self._look(page)[1]

    def _look(self, number: int) -> tuple[TiffPage, Layout]:
        if number not in self._known:
            page = self._tiff.pages[self._chain[number]]
            assert isinstance(page, TiffPage)
            self._known[number] = page, self._layout(page)
        return self._known[number]

    def _layout(self, page: TiffPage) -> Layout:
        guard(page.imagelength, page.imagewidth, self._most, page.samplesperpixel)
        self._check_kind(page)
        base, stored = BASES[page.photometric]
        extra = page.samplesperpixel - stored
        alpha = extra == 1 and tuple(page.extrasamples) in ((1,), (2,))
        if extra < 0 or (extra and (base not in ("grey", "RGB") or page.photometric == MINISWHITE)):
            raise Refused(f"is {base} in {page.samplesperpixel} bands, which is not read")
        bands, mode = page.samplesperpixel, words(base, extra, alpha)
        if base in ("palette", "CMYK", "YCbCr"):
            bands = 3
        dtype = colours(page).dtype if base == "palette" else page.dtype
        turn = page.tags.valueof(274, 1)
        turn = turn if turn in range(1, 9) else 1
        return Layout(
            page.imagelength, page.imagewidth, bands, np.dtype(dtype).name, mode, alpha, turn
        )  # fmt: skip

    def _check_kind(self, page: TiffPage) -> None:
        """Refuse what has no defined reading."""
        if 262 not in page.tags or page.photometric not in BASES:
            name = known(page.photometric)
            raise Refused(f"is a TIFF of {name}, which is not read; convert it to grey or RGB")
        if page.compression not in COMPRESSIONS:
            name = known(page.compression)
            raise Refused(f"is a TIFF compressed by {name}, which is not read; use deflate or LZW")
        bits = page.bitspersample
        if page.dtype is None or not isinstance(bits, int):
            raise Refused(f"is a TIFF with {bits} bits a band, which is not read")
        if page.dtype.kind not in "biuf":
            raise Refused(f"holds {page.dtype.name} values, not real numbers")
        unsigned, whole = page.dtype.kind in "bu", bits in (8, 16)
        fits = {
            MINISBLACK: True,
            RGB: True,
            MINISWHITE: unsigned,
            PALETTE: unsigned and bits <= 16,
            CMYK: unsigned and whole and page.tags.valueof(332, 1) == 1,  # InkSet
            YCBCR: unsigned and bits == 8 and usual_colours(page),
        }[page.photometric]
        if not fits or (bits < 8 and bits not in (1, 2, 4)):
            base = BASES[page.photometric][0]
            raise Refused(f"is a TIFF of {base} with {bits} bits of a kind that is not read")
        if page.extrasamples and unsigned and bits not in (8, 16, 32, 64):
            raise Refused(f"is a TIFF of {bits} bits with more bands, which is not read")
        if page.imagedepth != 1 or page.tiledepth != 1 or page.jpegheader is not None:
            raise Refused("is a TIFF of a maker's own kind, which is not read")
        if self.pages == 1 and stacked(page):
            raise Refused("is a stack within a single page; save it as pages, or as .npy")

    def pixels(self, page: int, indices: bool) -> NDArray[Any]:
        stored, _ = self._look(page)
        self._check_segments(stored)
        values = stored.asarray(squeeze=False, maxworkers=1)
        # (separate bands, depth 1, height, width, contiguous bands): one of both is 1
        values = np.moveaxis(values[:, 0], 0, -1).reshape(*stored.shaped[2:4], -1)
        if values.shape[2] != stored.samplesperpixel:
            raise Refused("is damaged or cannot be read: its bands are not those of its header")
        if indices:
            if stored.photometric == MINISWHITE:
                raise Refused("has 0 as white: class numbers need 0 as black, or a palette")
            return values
        return seen(stored, values)

    def _check_segments(self, page: TiffPage) -> None:
        """Refuse strips or tiles that are missing, cut off, or far larger than the image."""
        tall, wide = page.rowsperstrip, page.imagewidth
        if page.is_tiled:
            tall, wide = page.tilelength, page.tilewidth
        if tall < 1 or wide < 1:
            raise Refused("is damaged or cannot be read: its strips or tiles have no size")
        count = math.ceil(page.imagelength / tall) * math.ceil(page.imagewidth / wide)
        if page.is_tiled and count * tall * wide > max(
            4 * page.imagelength * page.imagewidth, 2**22
        ):
            raise Refused(f"has tiles of {wide}x{tall}, far larger than its image")
        count *= page.samplesperpixel if page.planarconfig == 2 else 1
        offsets, sizes = (np.asarray(v, float) for v in (page.dataoffsets, page.databytecounts))
        if not len(offsets) == len(sizes) == count or (offsets < 8).any() or (sizes < 1).any():
            raise Refused("is damaged or cannot be read: strips or tiles of it are missing")
        if (offsets + sizes > self._size).any():
            raise Refused("is damaged or cannot be read: it ends too early")
        if page.compression == JPEG:
            for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
                self._file.seek(offset)
                inner = Jpeg(BytesIO(self._file.read(size)), self._most)
                if inner.height > tall or inner.width > wide:
                    raise Refused("is damaged or cannot be read: a tile is larger than it says")


def seen(page: TiffPage, values: NDArray[Any]) -> NDArray[Any]:
    """Stored numbers as brightness: palettes applied, inks and colour differences as RGB."""
    bits = page.bitspersample
    if page.photometric == MINISWHITE:
        values = ~values if bits == 1 else (2**bits - 1 - values).astype(values.dtype)
    if page.photometric == PALETTE:
        return colours(page)[values[:, :, 0].astype(np.intp)]
    if page.photometric == CMYK:
        return from_cmyk(values)
    if page.photometric == YCBCR and page.compression != JPEG:  # of JPEG the codec makes RGB
        size = values.shape[1], values.shape[0]
        return np.asarray(Image.frombytes("YCbCr", size, values.tobytes()).convert("RGB"))
    if 1 < bits < 8:
        values = values * np.uint8(255 // (2**bits - 1))
    return unmultiplied(values) if tuple(page.extrasamples) == (1,) else values


def colours(page: TiffPage) -> NDArray[Any]:
    """A palette's colours, (number, 3): 8 bits where those say all that the file does."""
    table = page.colormap
    if table is None or table.shape != (3, 2**page.bitspersample):
        raise Refused("is damaged or cannot be read: its palette does not fit its pixels")
    table = np.ascontiguousarray(table.T)
    if table.max() < 256:  # written by those who took 8 bits for the format's 16
        return table.astype(np.uint8)
    high = table >> 8
    eight = (table == high * 257).all() or (table == high * 256).all()
    return high.astype(np.uint8) if eight else table


def known(value: Any) -> str:
    """A number of the format by its name, where it has one."""
    return f"{value.name.lower()} ({value.value})" if isinstance(value, IntEnum) else str(value)


def stacked(page: TiffPage) -> bool:
    """Whether more planes lie behind a page than the directories say."""
    imagej = re.search(r"^images=(\d+)", page.imagej_description or "", re.MULTILINE)
    return bool(imagej and int(imagej[1]) > 1) or '"truncated": true' in (
        page.shaped_description or ""
    )


def usual_colours(page: TiffPage) -> bool:
    """Whether YCbCr means what JPEG means by it."""
    if page.compression == JPEG:
        return True
    weights, limits = page.tags.valueof(529), page.tags.valueof(532)

    def equal(given: Any, usual: tuple[float, ...]) -> bool:
        pairs = np.asarray(given, float).reshape(-1, 2)
        return len(pairs) == len(usual) and np.allclose(pairs[:, 0], pairs[:, 1] * usual, atol=1e-3)

    return (
        not page.is_subsampled
        and (weights is None or equal(weights, (0.299, 0.587, 0.114)))
        and (limits is None or equal(limits, (0, 255, 128, 255, 128, 255)))
    )
