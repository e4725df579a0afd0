"""Resolution of image files, in pixels per inch: PNG, JFIF, TIFF, OME-TIFF and OME-Zarr."""

from __future__ import annotations

import math
import re
import struct
from typing import TYPE_CHECKING

from ..header import UNKNOWN, Resolution

if TYPE_CHECKING:  # it takes time to load, and most datasets have no TIFF
    from tifffile import TiffPage

INCH, CENTIMETRE = 2, 3  # ResolutionUnit of TIFF
MICROMETRE = "\u00b5m"
PER_INCH = {  # unit of OME -> units per inch
    "nm": 25.4e6,
    MICROMETRE: 25.4e3,
    "mm": 25.4,
    "cm": 2.54,
    "m": 0.0254,
}

NGFF_PER_INCH = {  # unit of OME-Zarr -> units per inch
    "angstrom": 25.4e7,
    "nanometer": 25.4e6,
    "micrometer": 25.4e3,
    "millimeter": 25.4,
    "centimeter": 2.54,
    "meter": 0.0254,
    "inch": 1.0,
}


def of_ngff(sizes: tuple[float, float], units: tuple[object, object]) -> Resolution:
    """Return the resolution of an OME-Zarr from the sizes of a pixel in x and y and their units."""
    inches = [NGFF_PER_INCH.get(str(unit), 0.0) for unit in units]
    x, y = (inch / size if size else 0.0 for inch, size in zip(inches, sizes, strict=True))
    return _upright(x, y, 1)


def of_png(body: bytes, orientation: int) -> Resolution:
    """Return the resolution in a pHYs chunk; `UNKNOWN` if it is only an aspect ratio."""
    if len(body) != 9 or body[8] != 1:
        return UNKNOWN
    x, y = struct.unpack(">II", body[:8])
    return _upright(0.0254 * x, 0.0254 * y, orientation)


def of_jfif(body: bytes, orientation: int) -> Resolution:
    """Return the resolution in an APP0 segment; `UNKNOWN` if it is only an aspect ratio."""
    if not body.startswith(b"JFIF\0") or len(body) < 12 or body[7] not in (1, 2):
        return UNKNOWN
    inch = 2.54 if body[7] == 2 else 1.0
    x, y = struct.unpack(">HH", body[8:12])
    return _upright(inch * x, inch * y, orientation)


def of_tiff(page: TiffPage, description: str, orientation: int) -> Resolution:
    """Return the resolution of a page: from the physical size in OME-XML, else from its tags.

    Args:
        page: The page.
        description: Description of the first page.
        orientation: EXIF orientation of the page.
    """
    found = tuple(_ome(description, axis) for axis in "XY")
    if not all(found):
        inch = {INCH: 1.0, CENTIMETRE: 2.54}.get(page.tags.valueof(296, INCH), 0.0)
        found = tuple(inch * _ratio(page.tags.valueof(code)) for code in (282, 283))
    return _upright(found[0], found[1], orientation)


def _ome(description: str, axis: str) -> float:
    """Return the pixels per inch in OME-XML; 0 if it has none."""
    pixels = re.search(r"<(?:\w+:)?Pixels\s[^<>]*>", description)
    if not pixels or "<OME" not in description:
        return 0.0
    size = re.search(rf'\sPhysicalSize{axis}="([-+.\deE]+)"', pixels[0])
    unit = re.search(rf'\sPhysicalSize{axis}Unit="([^"]*)"', pixels[0])
    name = unit[1].replace("\u03bc", "\u00b5") if unit else MICROMETRE  # two signs of micro
    try:
        return PER_INCH[name] / float(size[1]) if size else 0.0
    except (KeyError, ValueError, ZeroDivisionError):
        return 0.0


def _ratio(value: object) -> float:
    match value:
        case (int(numerator), int(denominator)) if denominator:
            return numerator / denominator
    return 0.0


def _upright(x: float, y: float, orientation: int) -> Resolution:
    """Return the resolution of the image as it is displayed; `UNKNOWN` if it is invalid."""
    if not all(math.isfinite(one) and 0.01 <= one <= 1e8 for one in (x, y)):
        return UNKNOWN
    return (y, x) if orientation >= 5 else (x, y)
