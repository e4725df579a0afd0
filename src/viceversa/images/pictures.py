"""An image as its domain sees it: the right bands, or the class of each pixel."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..errors import UserError
from .domain import Domain, DomainConfig
from .files import MOST_PIXELS, Pixels, read, resize
from .labels import to_classes
from .nodata import NoData, mask_of, masked
from .sources import Source

Half = Literal["left", "right"] | None


def half_of(side: str) -> Half:
    """Which half of a file with A and B side by side is a domain's: `a` or `b`."""
    return "left" if side == "a" else "right"


def load(
    source: Source, config: DomainConfig, half: Half = None, most: int = MOST_PIXELS,
    nodata: NoData | None = None,
) -> Pixels:  # fmt: skip
    """(h, w, bands) as the file has them; of labels (h, w, 1), the number of each pixel's class.

    `half`: of a file with A and B side by side. `nodata`: which numbers are no data, in place of
    what `config` says; they are masked. Raises UserError for what the domain can't hold.
    """
    channels = None if config.indices else config.bands
    missing = config.nodata_value if nodata is None else nodata
    pixels = read(source, channels, config.pages, config.indices, most, missing)
    return as_domain(one_half(pixels, half), config, source)


def one_half(pixels: Pixels, half: Half) -> Pixels:
    """(h, w, bands): the left or the right half of an image, or all of it."""
    if half is None:
        return pixels
    middle = pixels.shape[1] // 2
    return pixels[:, :middle] if half == "left" else pixels[:, middle:]


def as_domain(pixels: Pixels, config: DomainConfig, name: object) -> Pixels:
    """(h, w, bands) as files hold them; of labels (h, w, 1), the number of each pixel's class.

    Raises UserError for an unknown class, and for photos of other than 8 bits where Lab is made.
    """
    if config.kind == "labels":
        return masked(to_classes(np.ma.getdata(pixels), config, name), mask_of(pixels))
    if config.kind != "image" and pixels.dtype != np.uint8:
        raise UserError(f"{name} is {pixels.dtype}; {config.kind} takes photos of 8 bits")
    return pixels


def in_range(pixels: Pixels, domain: Domain, name: object) -> Pixels:
    """An image of another dtype than the domain's in the domain's range, if that is its dtype's.

    Raises UserError for floats, whose dtype has no range.
    """
    try:
        own = domain.of_dtype(pixels.dtype.name)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    if own is domain:
        return pixels
    (low, *_), (high, *_), first, last = own.low, own.high, domain.low[0], domain.high[0]
    share = (np.ma.getdata(pixels).astype(np.float64) - low) / (high - low)
    return masked((share * (last - first) + first).astype(np.float32), mask_of(pixels))


def fitted_to(pixels: Pixels, height: int, width: int, config: DomainConfig) -> Pixels:
    """Resized by the domain's filter; classes are never mixed."""
    return resize(pixels, height, width, "nearest" if config.kind == "labels" else config.resize)
