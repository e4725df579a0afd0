"""Label maps: colours or numbers in a file <-> the class of each pixel."""

from __future__ import annotations

import numpy as np

from ..errors import UserError
from .domain import DomainConfig
from .header import Pixels
from .sources import path_of, printable


def palette(config: DomainConfig) -> Pixels:
    """Return the colour of each class, (classes, 3) uint8."""
    return np.array([list(bytes.fromhex(text[1:])) for text in config.colours], dtype=np.uint8)


def to_classes(pixels: Pixels, config: DomainConfig, name: object) -> Pixels:
    """Return the class of each pixel, (h, w, 1) uint8 or uint16, of (h, w, channels) as in a file.

    Raises UserError for a number beyond `ids`, or a colour further than `tolerance` from all.
    """

    def refused(problem: str) -> UserError:
        return UserError(f"{printable(name)} {problem}", path=path_of(name))

    if config.ids:
        top = int(pixels.max())
        if pixels.min() < 0 or top >= config.ids:
            raise refused(
                f"holds the class {top if top >= config.ids else int(pixels.min())}; "
                f"with ids {config.ids} classes go from 0 to {config.ids - 1}"
            )
        return pixels.astype(np.uint8 if config.ids <= 256 else np.uint16)
    if pixels.dtype != np.uint8:
        raise refused(f"is {pixels.dtype}; the colours of classes are of 8 bits")
    # A map has few colours: each distinct one is compared with the classes once.
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    distinct, inverse = np.unique(packed, return_inverse=True)
    rgb = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], axis=1).astype(np.int16)
    distances = np.abs(rgb[:, None] - palette(config)[None].astype(np.int16)).max(axis=2)
    unknown = distances.min(axis=1) > config.tolerance
    if unknown.any():
        raise refused(
            f"holds the colour #{int(distinct[unknown][0]):06x}, which is no class's "
            f"({int(unknown.sum())} such colours); add it to classes, or raise tolerance"
        )
    small = np.uint8 if len(config.colours) <= 256 else np.uint16
    classes: Pixels = distances.argmin(axis=1).astype(small)
    return classes[inverse].reshape(*pixels.shape[:2], 1)


def from_classes(classes: Pixels, config: DomainConfig) -> Pixels:
    """Return (h, w, 1) classes as (h, w, channels) of a file of the domain."""
    if config.ids:
        return classes.astype(np.uint8 if config.ids <= 256 else np.uint16)
    return np.ascontiguousarray(palette(config)[classes[:, :, 0]])
