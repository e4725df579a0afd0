"""Images that Python code gives: all kinds become pixels by the same rules as files."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from ..errors import UserError
from .bands import contiguous, fit_bands, settled_masked, unpacked, upright
from .domain import DomainConfig
from .files import decode, explained, read, readable
from .formats.layout import Pixels, Refused, guard, orientation
from .nodata import NoData

KINDS = "a path, bytes, a binary file object, a Pillow image, an array or a tensor"


def pixels_of(image: Any, config: DomainConfig, most: int, nodata: NoData | None = None) -> Pixels:
    """Return an image as (height, width, channels) of its domain, upright.

    If some of its pixels have no data, it is a masked array.

    Args:
        image: A path, the bytes of an image file, a file object opened in binary mode, a Pillow
            image, or an array (h, w) or (h, w, channels).
        config: The domain, which says how many channels and which pages are read.
        most: Maximum number of pixels.
        nodata: Which values are no data, in place of what `config` says.

    Raises:
        UserError: The image is damaged, empty, too large, has several frames or non-finite
            values, or does not fit the domain; the same for every kind.
    """
    nodata = config.nodata_value if nodata is None else nodata
    channels = None if config.indices else config.bands
    if isinstance(image, str | os.PathLike):
        return read(Path(image), channels, config.pages, config.indices, most, nodata)
    if isinstance(image, np.ndarray):
        return _of_array(image, config, most, nodata.value)
    if isinstance(image, Image.Image):
        return _of_pillow(image, config, most, nodata)
    name = "the image"
    if hasattr(image, "read"):
        name = str(getattr(image, "name", name))
        image = image.read()
        if not isinstance(image, bytes):
            raise UserError(f"{name} is opened as text; open it in binary mode ('rb')")
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(bytes(image), name, channels, config.pages, config.indices, most,
                      nodata).pixels  # fmt: skip
    raise UserError(f"an image is {KINDS}, not {type(image).__name__}")


def _of_array(array: Any, config: DomainConfig, most: int, nodata: float | None) -> Pixels:
    values = array[:, :, None] if array.ndim == 2 else array
    if values.ndim != 3 or values.shape[2] != config.bands:
        raise UserError(
            f"an array is (h, w, {config.bands}) of uint8, uint16, int16 or float32, "
            f"not {array.shape} {array.dtype}"
        )
    with explained("the array"):
        guard(values.shape[0], values.shape[1], most, config.bands)
        return contiguous(settled_masked(values, nodata, config.indices))


def _of_pillow(image: Image.Image, config: DomainConfig, most: int, nodata: NoData) -> Pixels:
    """A Pillow image. One that is not loaded yet is read from its file, as if by its path."""
    name = str(getattr(image, "filename", "")) or "the image"
    channels = None if config.indices else config.bands
    with explained(name):
        guard(image.height, image.width, most)
        data = _file_of(image)
        if readable(data):
            made = decode(data, name, channels, config.pages, config.indices, most, nodata)
            size = made.header.width, made.header.height
            if sorted(image.size) == sorted(size):  # not so after draft()
                return made.pixels
        if getattr(image, "n_frames", 1) > 1:
            raise Refused(f"has {image.n_frames} frames; copy() the one to use")  # type: ignore[attr-defined]
        image.load()
        if config.indices:
            values, alpha = settled_masked(np.asarray(image), nodata.value, True), False
        else:
            values, alpha = unpacked(image, nodata.value)
        values = upright(values, orientation(image.info.get("exif", b"")))
        values = contiguous(values[:, :, None] if values.ndim == 2 else values)
        guard(values.shape[0], values.shape[1], most, values.shape[2])
    if config.indices and values.shape[2] != 1:
        raise UserError(f"{name} is {image.mode}; class numbers need one channel or a palette")
    return values if channels is None else fit_bands(values, alpha, channels, name)


def _file_of(image: Image.Image) -> bytes:
    """The bytes of the file that a Pillow image was opened from and not loaded; else none."""
    file = getattr(image, "fp", None)
    if not isinstance(image, ImageFile.ImageFile) or file is None or image.tell():
        return b""
    place = file.tell()
    file.seek(0)
    data = BytesIO(file.read()).getvalue()
    file.seek(place)
    return data
