"""Load images for a domain: with its channels, or as the class of each pixel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageFile

from ..errors import UserError
from .domain import Domain, DomainConfig
from .header import MAX_PIXELS, Pixels, Refused, check_size, exif_orientation
from .io import ReadOptions, decode, read, reading_errors
from .labels import to_classes
from .masks import read_mask
from .nodata import NoData, mask_of, masked, missing
from .opening import is_readable
from .pixels import convert_masked, fit_channels, from_pillow, resize, upright, without_alpha
from .sources import Source, path_of, printable

Half = Literal["left", "right"] | None
KINDS = "a path, bytes, a binary file object, a Pillow image, an array or a tensor"


def half_of(side: str) -> Half:
    """Return the half of a side-by-side file that is domain `a` or `b`."""
    return "left" if side == "a" else "right"


def load(
    source: Source,
    config: DomainConfig,
    half: Half = None,
    max_pixels: int = MAX_PIXELS,
    nodata: NoData | None = None,
    mask: Source | Path | None = None,
) -> Pixels:
    """Load an image file of a domain.

    Args:
        source: The file.
        config: The domain.
        half: Half of a file with A and B side by side; None: all of it.
        max_pixels: Maximum number of pixels.
        nodata: Which pixels have no data and are masked; None: those of `config`.
        mask: Mask file of the image; None: no mask.

    Returns:
        (h, w, channels) as in the file; of labels (h, w, 1), the class of each pixel.

    Raises:
        UserError: As `read`, or the image does not fit the domain.
    """
    pixels = read(
        source, *read_options(config, max_pixels, nodata), mask=read_mask(mask, max_pixels)
    )
    return to_domain(take_half(pixels, half), config, source)


def read_options(
    config: DomainConfig, max_pixels: int = MAX_PIXELS, nodata: NoData | None = None
) -> ReadOptions:
    """Return the arguments of `read` for the files of a domain."""
    nodata = config.nodata_value if nodata is None else nodata
    return ReadOptions(config.read_channels, config.pages, config.indices, max_pixels, nodata)


def take_half(pixels: Pixels, half: Half) -> Pixels:
    """Return the left or the right half of (h, w, channels), or all of it."""
    if half is None:
        return pixels
    middle = pixels.shape[1] // 2
    return pixels[:, :middle] if half == "left" else pixels[:, middle:]


def to_domain(pixels: Pixels, config: DomainConfig, name: object) -> Pixels:
    """Return (h, w, channels) as in the file; of labels (h, w, 1), the class of each pixel.

    Raises UserError if a pixel is not a class, or an image of a Lab domain is not of 8 bits.
    """
    if config.kind == "labels":
        return masked(to_classes(np.ma.getdata(pixels), config, name), mask_of(pixels))
    if config.kind != "image" and pixels.dtype != np.uint8:
        raise UserError(
            f"{printable(name)} is {pixels.dtype}; {config.kind} takes images of 8 bits",
            path=path_of(name),
        )
    return pixels


def to_domain_range(pixels: Pixels, domain: Domain, name: object) -> Pixels:
    """Scale an image whose dtype is not that of the domain, if the domain has `range` dtype.

    Raises UserError for floats, whose dtype has no range.
    """
    try:
        own = domain.of_dtype(pixels.dtype.name)
    except UserError as error:
        raise UserError(f"{printable(name)}: {error}", path=path_of(name)) from None
    if own is domain:
        return pixels
    (low, *_), (high, *_), first, last = own.low, own.high, domain.low[0], domain.high[0]
    fraction = (np.ma.getdata(pixels).astype(np.float64) - low) / (high - low)
    return masked((fraction * (last - first) + first).astype(np.float32), mask_of(pixels))


def resize_for(pixels: Pixels, height: int, width: int, config: DomainConfig) -> Pixels:
    """Resize with the filter of the domain; label maps always with `nearest`."""
    return resize(pixels, height, width, "nearest" if config.kind == "labels" else config.resize)


def to_domain_pixels(
    image: Any,
    config: DomainConfig,
    max_pixels: int,
    nodata: NoData | None = None,
    mask: Source | Path | None = None,
) -> Pixels:
    """Return an image given in Python as (height, width, channels) of its domain, upright.

    If some of its pixels have no data, the result is a masked array.

    Args:
        image: A path, a member of an archive, the bytes of an image file, a file object opened in
            binary mode, a Pillow image, or an array (h, w) or (h, w, channels).
        config: The domain.
        max_pixels: Maximum number of pixels.
        nodata: Which pixels have no data; None: those of `config`.
        mask: Mask file of an image that is given by its path.

    Raises:
        UserError: The image is damaged, empty, too large, has several frames or non-finite
            values, or does not fit the domain.
    """
    options = read_options(config, max_pixels, nodata)
    if isinstance(image, str | os.PathLike | Source):
        source = image if isinstance(image, Source) else Path(image)
        return read(source, *options, mask=read_mask(mask, max_pixels))
    if isinstance(image, np.ndarray):
        return _from_array(image, config, max_pixels, options.nodata)
    if isinstance(image, Image.Image):
        return _from_image(image, options)
    name = "the image"
    if hasattr(image, "read"):
        name = str(getattr(image, "name", name))
        image = image.read()
        if not isinstance(image, bytes):
            raise UserError(f"{name} is opened as text; open it in binary mode ('rb')")
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(bytes(image), name, *options).pixels
    raise UserError(f"an image must be {KINDS}, not {type(image).__name__}")


def _from_array(array: Any, config: DomainConfig, max_pixels: int, nodata: NoData) -> Pixels:
    values = array[:, :, None] if array.ndim == 2 else array
    channels = config.file_channels
    alpha = nodata.alpha and values.ndim == 3 and values.shape[2] == channels + 1
    channels += alpha
    if values.ndim != 3 or values.shape[2] != channels:
        raise UserError(
            f"an array must be (h, w, {channels}) of uint8, uint16, int16 or float32, "
            f"not {array.shape} {array.dtype}"
        )
    with reading_errors("the array"):
        check_size(values.shape[0], values.shape[1], max_pixels, channels)
        mask = missing(values, nodata, alpha=alpha)
        return without_alpha(convert_masked(values, mask, config.indices), config.file_channels)


def _from_image(image: Image.Image, options: ReadOptions) -> Pixels:
    """Convert a Pillow image; one that is not loaded yet is read from its file."""
    name = str(getattr(image, "filename", "")) or "the image"
    channels, _, indices, max_pixels, nodata = options
    with reading_errors(name):
        check_size(image.height, image.width, max_pixels)
        data = _file_of(image)
        if is_readable(data):
            decoded = decode(data, name, *options)
            size = decoded.header.width, decoded.header.height
            if sorted(image.size) == sorted(size):  # else it was scaled by draft()
                return decoded.pixels
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise Refused(f"has {frames} frames; pass a copy() of one of them")
        image.load()
        if indices:
            values, alpha = np.asarray(image), False
            pixels = convert_masked(values, missing(values, nodata), True)
        else:
            pixels, alpha = from_pillow(image, nodata)
        check_size(pixels.shape[0], pixels.shape[1], max_pixels, pixels.shape[2])
        if indices and pixels.shape[2] != 1:
            raise Refused(f"is {image.mode}; class indices need one channel or a palette")
        pixels = upright(pixels, exif_orientation(image.info.get("exif", b"")))
    if channels is None:
        return pixels
    if nodata.alpha and alpha:
        pixels, alpha = without_alpha(pixels, channels), False
    return fit_channels(pixels, alpha, channels, name)


def _file_of(image: Image.Image) -> bytes:
    """Return the file of a Pillow image that was opened and not loaded; else b""."""
    file = getattr(image, "fp", None)
    if not isinstance(image, ImageFile.ImageFile) or file is None or image.tell():
        return b""
    position = file.tell()
    file.seek(0)
    data = bytes(file.read())
    file.seek(position)
    return data
