"""Headers, tags and limits of image files, before pixels are decoded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

Pixels = NDArray[Any]
"""(height, width, channels), C-contiguous; uint8, uint16, int16 or float32."""
Geometry = tuple[tuple[int, str, int, Any, bool], ...]
"""TIFF tags of GeoTIFF as tifffile writes them: (code, type, count, value, once)."""

Resolution = tuple[float, float]
"""Pixels per inch in x and y."""

UNKNOWN: Resolution = (0.0, 0.0)
MAX_PIXELS = 64_000_000
MAX_PAGES = 10_000
MAX_PROFILE = 2**16  # bytes of an ICC profile that a model file stores
DAMAGED = "is damaged or cannot be read"
TRUNCATED = f"{DAMAGED}: it ends too early"


class Refused(ValueError):
    """Reason why a file is not read, to follow its name: "has ...", "is ..."."""


class Tags(NamedTuple):
    """Metadata of a file that a translation keeps; empty if the file has none."""

    icc: bytes = b""
    """ICC profile."""
    metadata: str = ""
    """TIFF tag 42112, GDAL_METADATA."""
    nodata: str = ""
    """TIFF tag 42113, GDAL_NODATA."""
    geometry: Geometry = ()
    resolution: Resolution = UNKNOWN


@dataclass(frozen=True)
class Header:
    """Size and type of an image."""

    height: int
    width: int
    channels: int
    dtype: str
    """dtype of the file, such as "uint16" or "float64"."""
    mode: str
    """Description of the stored channels, such as "RGB + alpha"."""
    alpha: bool = False
    """Whether the last channel is alpha."""
    orientation: int = 1
    """EXIF orientation (1 to 8) of a page as stored; `read_header` returns 1."""
    pages: int = 1

    def upright(self) -> Header:
        """Return the header of the image after its orientation is applied."""
        if self.orientation < 5:
            return dataclasses.replace(self, orientation=1)
        return dataclasses.replace(self, height=self.width, width=self.height, orientation=1)


class Window(NamedTuple):
    """Reader of rows of a page that does not decode the whole page."""

    read: Callable[[int, int, bool], NDArray[Any]]
    """Arguments: first row, row after the last one, and whether to return palette indices."""
    together: int
    """Number of rows that are decoded together."""


@dataclass
class ImageFile:
    """An image file whose header is read, but not its pixels."""

    header: Callable[[int], Header]
    """Return the header of a page."""
    pixels: Callable[[int, bool], NDArray[Any]]
    """Decode a page as stored; True: return palette indices instead of colours."""
    tags: Callable[[int], Tags] = lambda page: Tags()
    """Return the tags of a page."""
    pages: int = 1
    window: Callable[[int], Window | None] = lambda page: None
    """Return a row reader of a page; None for a page that is decoded as a whole."""


def check_size(height: int, width: int, max_pixels: int, channels: int = 1) -> None:
    """Raise Refused for an image without pixels, or of more than `max_pixels` pixels."""
    if min(height, width, channels) < 1:
        raise Refused(f"has no pixels: it is {width}x{height} with {channels} channels")
    # An image may also be large by its number of channels.
    megapixels = max(height * width, height * width * channels / 4) / 1e6
    if megapixels > max_pixels / 1e6:
        needed = math.ceil(megapixels)
        more = f" with {channels} channels" if channels > 4 else ""
        raise Refused(
            f"is {width}x{height}{more}: {megapixels:.4g} megapixels are more than the limit of "
            f"{max_pixels / 1e6:g}; raise it with --max_megapixels {needed} (for a dataset: "
            f"--data.max_megapixels {needed})"
        )


def mode_name(base: str, channels: int, alpha: bool = False) -> str:
    """Return how an image is stored: "grey", "RGB + alpha", "6 channels"."""
    if channels == {"grey": 1}.get(base, 3) + alpha:
        return f"{base} + alpha" if alpha else base
    return f"{channels} channels"


def exif_orientation(exif: bytes) -> int:
    """Return the orientation (1 to 8) in an EXIF block; 1 if it has none.

    Pillow's parser warns about blocks that are damaged elsewhere, and decodes a whole PNG.
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
