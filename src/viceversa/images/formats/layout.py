"""What an image file's header says, before anything of it is decoded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, Protocol

from numpy.typing import NDArray

Pixels = NDArray[Any]
"""(height, width, bands), C-contiguous; uint8, uint16, int16 or float32."""

MOST_PIXELS = 64_000_000
MOST_PAGES = 10_000
LARGEST_PROFILE = 2**16  # bytes of an ICC profile that a model file stores


class Refused(ValueError):
    """Why a file is not read, without its name: "has ...", "is ...", "holds ..."."""


Geometry = tuple[tuple[int, str, int, Any, bool], ...]
"""TIFF tags of GeoTIFF as tifffile writes them: (code, type, count, value, once)."""


class Tags(NamedTuple):
    """Metadata of a file that a translation may keep; empty where the file has none."""

    icc: bytes = b""
    """ICC profile."""
    metadata: str = ""
    """TIFF tag 42112, GDAL_METADATA."""
    nodata: str = ""
    """TIFF tag 42113, GDAL_NODATA."""
    geometry: Geometry = ()


@dataclass(frozen=True)
class Header:
    """An image as `read` gives it, upright; of `pages` pages in its file.

    `dtype` is the file's own ("uint16", "float64"); `mode` says in plain words how it is stored.
    """

    height: int
    width: int
    bands: int
    dtype: str
    mode: str
    pages: int
    alpha: bool


@dataclass(frozen=True)
class Layout:
    """One page as it lies in the file: `height` and `width` before it is turned upright."""

    height: int
    width: int
    bands: int
    dtype: str
    mode: str
    alpha: bool = False
    orientation: int = 1

    def header(self, pages: int) -> Header:
        """What of it the outside sees."""
        turned = self.orientation >= 5
        height, width = (self.width, self.height) if turned else (self.height, self.width)
        return Header(height, width, self.bands, self.dtype, self.mode, pages, self.alpha)


class Opened(Protocol):
    """A file whose header is understood. Pixels come as stored, not yet turned upright."""

    pages: int

    def layout(self, page: int) -> Layout: ...

    def pixels(self, page: int, indices: bool) -> NDArray[Any]: ...

    def tags(self, page: int) -> Tags: ...


Opener = Callable[[BinaryIO, int], Opened]
"""Understands a file's header; the number is the most pixels its image may have."""


def guard(height: int, width: int, most: int, bands: int = 1) -> None:
    """Refuse what no image is, and what a small file could fill the memory with."""
    if min(height, width, bands) < 1:
        raise Refused(f"has no pixels: it is {width}x{height} with {bands} bands")
    # Many channels are another way to be large.
    megapixels = max(height * width, height * width * bands / 4) / 1e6
    if megapixels > most / 1e6:
        needed = math.ceil(megapixels)
        channels = f" with {bands} channels" if bands > 4 else ""
        raise Refused(
            f"is {width}x{height}{channels}: {megapixels:.4g} megapixels are more than the limit "
            f"of {most / 1e6:g}; raise it with --max_megapixels {needed} (for a data set: "
            f"--data.max_megapixels {needed})"
        )


def words(base: str, extra: int, alpha: bool) -> str:
    """A mode in words: "grey", "RGB + alpha", "6 bands"."""
    if not extra:
        return base
    return f"{base} + alpha" if alpha else f"{({'grey': 1}.get(base, 3)) + extra} bands"


def orientation(exif: bytes) -> int:
    """How the camera was held, 1 to 8, from an EXIF block; 1 where it doesn't say.

    Read here, since Pillow's own way warns about blocks that are damaged elsewhere, and for PNG
    decodes the whole image.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    if exif[:2] not in (b"II", b"MM"):
        return 1
    order: Any = "little" if exif[:2] == b"II" else "big"
    start = int.from_bytes(exif[4:8], order)
    count = int.from_bytes(exif[start : start + 2], order)
    for at in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
        if int.from_bytes(exif[at : at + 2], order) == 0x0112:
            value = int.from_bytes(exif[at + 8 : at + 10], order)
            return value if 1 <= value <= 8 else 1
    return 1
