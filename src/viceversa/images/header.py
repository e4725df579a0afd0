"""Headers, tags and limits of image files: all that is known before pixels are decoded."""

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

MAX_PIXELS = 64_000_000
MAX_PAGES = 10_000
MAX_PROFILE = 2**16  # bytes of an ICC profile that a model file stores
DAMAGED = "is damaged or cannot be read"
TRUNCATED = f"{DAMAGED}: it ends too early"


class Refused(ValueError):
    """The reason why a file is not read, to follow its name: "has ...", "is ..."."""


class Tags(NamedTuple):
    """Metadata of a file that a translation may keep; empty if the file has none."""

    icc: bytes = b""
    """ICC profile."""
    metadata: str = ""
    """TIFF tag 42112, GDAL_METADATA."""
    nodata: str = ""
    """TIFF tag 42113, GDAL_NODATA."""
    geometry: Geometry = ()


@dataclass(frozen=True)
class Header:
    """Size and kind of an image.

    `dtype` is the dtype of the file ("uint16", "float64"); `mode` describes how it is stored.
    `orientation` is that of EXIF (1 to 8) for a page as stored, and 1 in what `read_header`
    returns.
    """

    height: int
    width: int
    channels: int
    dtype: str
    mode: str
    alpha: bool = False
    orientation: int = 1
    pages: int = 1

    def upright(self) -> Header:
        """Return the header of the image after its orientation is applied."""
        if self.orientation < 5:
            return dataclasses.replace(self, orientation=1)
        return dataclasses.replace(self, height=self.width, width=self.height, orientation=1)


@dataclass
class ImageFile:
    """An image file whose header was read; nothing is decoded yet.

    `header` and `tags` take the number of a page. `pixels` also takes whether class numbers
    (palette indices) are wanted, and returns pixels as stored, not yet upright.
    """

    header: Callable[[int], Header]
    pixels: Callable[[int, bool], NDArray[Any]]
    tags: Callable[[int], Tags] = lambda page: Tags()
    pages: int = 1


def check_size(height: int, width: int, most: int, channels: int = 1) -> None:
    """Refuse images without pixels and those of more than `most` pixels, before decoding."""
    if min(height, width, channels) < 1:
        raise Refused(f"has no pixels: it is {width}x{height} with {channels} channels")
    # Many channels are another way to be large.
    megapixels = max(height * width, height * width * channels / 4) / 1e6
    if megapixels > most / 1e6:
        needed = math.ceil(megapixels)
        more = f" with {channels} channels" if channels > 4 else ""
        raise Refused(
            f"is {width}x{height}{more}: {megapixels:.4g} megapixels are more than the limit of "
            f"{most / 1e6:g}; raise it with --max_megapixels {needed} (for a data set: "
            f"--data.max_megapixels {needed})"
        )


def mode_name(base: str, channels: int, alpha: bool = False) -> str:
    """Return how an image is stored: "grey", "RGB + alpha", "6 channels"."""
    if channels == {"grey": 1}.get(base, 3) + alpha:
        return f"{base} + alpha" if alpha else base
    return f"{channels} channels"


def exif_orientation(exif: bytes) -> int:
    """Return the orientation (1 to 8) in an EXIF block; 1 if it has none.

    Pillow's own parser warns about blocks that are damaged elsewhere, and decodes a whole PNG.
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
