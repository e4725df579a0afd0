"""Mask files: images of one channel, which are 0 where another image has no data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import UserError
from .header import MAX_PIXELS, Pixels
from .io import decode, read
from .nodata import Mask
from .sources import Source, path_of, printable


def read_mask(source: Source | Path | None, max_pixels: int = MAX_PIXELS) -> Mask | None:
    """Read a mask file.

    Args:
        source: The file; None: no mask.
        max_pixels: Maximum number of pixels.

    Returns:
        (h, w), true where there is no data.

    Raises:
        UserError: As `images.read`, or the file has several channels.
    """
    return None if source is None else _to_mask(read(source, max_pixels=max_pixels), source)


def decode_mask(data: bytes, name: object, max_pixels: int = MAX_PIXELS) -> Mask:
    """Decode the bytes of a mask file as `read_mask`; `name` is for error messages."""
    return _to_mask(decode(data, name, max_pixels=max_pixels).pixels, name)


def _to_mask(pixels: Pixels, name: object) -> Mask:
    """Return where a mask is 0; equal channels are grey that was saved as RGB or with a palette."""
    if pixels.shape[2] == 1 or (pixels.shape[2] == 3 and (pixels == pixels[:, :, :1]).all()):
        return np.asarray(pixels[:, :, 0] == 0)
    raise UserError(
        f"the mask {printable(name)} has {pixels.shape[2]} channels; a mask has one, which is 0 "
        "where there is no data",
        path=path_of(name),
    )
