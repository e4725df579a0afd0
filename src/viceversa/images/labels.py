"""Label maps: colours or numbers in a file <-> the number of a class at each pixel."""

from __future__ import annotations

import numpy as np

from ..errors import UserError
from .domain import DomainConfig
from .files import Pixels


def palette(config: DomainConfig) -> Pixels:
    """(classes, 3) uint8: the colour of each class."""
    return np.array([list(bytes.fromhex(text[1:])) for text in config.colours], dtype=np.uint8)


def to_classes(pixels: Pixels, config: DomainConfig, name: object) -> Pixels:
    """(h, w, bands) as in the file -> (h, w, 1) uint8 or uint16: the class of each pixel.

    Raises UserError for a number beyond `ids`, or a colour further than `tolerance` from all.
    """
    if config.ids:
        top = int(pixels.max())
        if pixels.min() < 0 or top >= config.ids:
            raise UserError(
                f"{name} holds the class {top if top >= config.ids else int(pixels.min())}; "
                f"with ids {config.ids} classes go from 0 to {config.ids - 1}"
            )
        return pixels.astype(np.uint8 if config.ids <= 256 else np.uint16)
    if pixels.dtype != np.uint8:
        raise UserError(f"{name} is {pixels.dtype}; the colours of classes are of 8 bits")
    # A map has few colours: each distinct one is looked up once.
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    distinct, places = np.unique(packed, return_inverse=True)
    seen = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], axis=1).astype(np.int16)
    distances = np.abs(seen[:, None] - palette(config)[None].astype(np.int16)).max(axis=2)
    strange = distances.min(axis=1) > config.tolerance
    if strange.any():
        first = int(distinct[strange][0])
        raise UserError(
            f"{name} holds the colour #{first:06x}, which is no class's ({int(strange.sum())} such "
            "colours); add it to classes, or raise tolerance"
        )
    small = np.uint8 if len(config.colours) <= 256 else np.uint16
    classes: Pixels = distances.argmin(axis=1).astype(small)
    return classes[places].reshape(*pixels.shape[:2], 1)


def from_classes(classes: Pixels, config: DomainConfig) -> Pixels:
    """(h, w, 1) numbers of classes -> (h, w, bands) as the files hold them."""
    if config.ids:
        return classes.astype(np.uint8 if config.ids <= 256 else np.uint16)
    return np.ascontiguousarray(palette(config)[classes[:, :, 0]])
