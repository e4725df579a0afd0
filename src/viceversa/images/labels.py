"""Label maps: colours or class indices in a file <-> the class of each pixel."""

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
    """Return the class of each pixel of a label map.

    Args:
        pixels: (h, w, channels) as in the file.
        config: The domain.
        name: Name of the file, for error messages.

    Returns:
        (h, w, 1) of uint8 or uint16.

    Raises:
        UserError: A pixel has an index or a colour that is not a class.
    """

    def error(problem: str) -> UserError:
        return UserError(f"{printable(name)} {problem}", path=path_of(name))

    if config.ids:
        top = int(pixels.max())
        if pixels.min() < 0 or top >= config.ids:
            found = top if top >= config.ids else int(pixels.min())
            limit = f"with ids {config.ids}, classes are 0 to {config.ids - 1}"
            raise error(f"contains the class {found}; {limit}")
        return pixels.astype(np.uint8 if config.ids <= 256 else np.uint16)
    if pixels.dtype != np.uint8:
        raise error(f"is {pixels.dtype}; the colours of classes have 8 bits")
    # A label map has few colours: each is compared with the classes once.
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    distinct, inverse = np.unique(packed, return_inverse=True)
    rgb = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], axis=1).astype(np.int16)
    distances = np.abs(rgb[:, None] - palette(config)[None].astype(np.int16)).max(axis=2)
    unknown = distances.min(axis=1) > config.tolerance
    if unknown.any():
        raise error(
            f"contains the colour #{int(distinct[unknown][0]):06x}, which is not a class "
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
