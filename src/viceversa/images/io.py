"""Read image files: every dtype and number of channels is kept or refused, never clipped.

docs/data.md has a table of the formats. In short:

- The decoder is chosen by the content of a file, not by its name.
- Integers of 8 and 16 bits and float32 are kept; wider integers become float32 if this changes
  no value, float16 and float64 become float32; 1 bit becomes 0 and 255.
- Palettes, CMYK and YCbCr become RGB. Orientation is applied; colour profiles and gamma are not.
- Several pages or frames, NaN, Lab, complex numbers and images over the size limit are refused.
- Pixels without data are masked: if there are any, the result is a masked array.
"""

from __future__ import annotations

import dataclasses
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .formats.arrays import is_netpbm, open_netpbm, open_npy
from .formats.jpeg2000 import CODESTREAM, JP2, open_jpeg2000
from .formats.pillow import open_bmp, open_gif, open_jpeg, open_webp
from .formats.png import SIGNATURE, open_png
from .header import (
    DAMAGED,
    MAX_PAGES,
    MAX_PIXELS,
    TRUNCATED,
    Header,
    ImageFile,
    Pixels,
    Refused,
    Tags,
    check_size,
)
from .nodata import Mask, NoData, missing
from .pixels import contiguous, convert_masked, fit_channels, upright, without_alpha
from .sources import FORMATS, Source, path_of, printable

LARGE = 2**26  # bytes; of larger files, the header is checked before the whole file is read
NO_NODATA = NoData()
OPENERS: dict[bytes, Callable[[BinaryIO], ImageFile]] = {
    SIGNATURE: open_png,
    b"\xff\xd8\xff": open_jpeg,
    b"GIF87a": open_gif,
    b"GIF89a": open_gif,
    b"BM": open_bmp,
    b"\x93NUMPY": open_npy,
    JP2: open_jpeg2000,
    CODESTREAM: open_jpeg2000,
}
TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Decoded(NamedTuple):
    """A decoded file. `pixels` is a masked array if some pixels have no data."""

    pixels: Pixels
    header: Header
    tags: Tags


class ReadOptions(NamedTuple):
    """Arguments of `read` that depend on the domain, see there."""

    channels: int | None = None
    pages: str = "refuse"
    indices: bool = False
    max_pixels: int = MAX_PIXELS
    nodata: NoData = NO_NODATA


def read(
    source: Source | Path | str,
    channels: int | None = None,
    pages: str = "refuse",
    indices: bool = False,
    max_pixels: int = MAX_PIXELS,
    nodata: NoData = NO_NODATA,
    fit: bool = True,
    mask: Mask | None = None,
) -> Pixels:
    """Read an image file as (height, width, channels), upright.

    Args:
        source: The file, or a member of an archive.
        channels: Number of channels, converted by `fit_channels`; None: those of the file.
        pages: refuse, the index of a page (from 0), or bands (all, of one size, as channels).
        indices: Whether to return the palette indices or grey values of a label map.
        max_pixels: Maximum number of pixels.
        nodata: Which pixels have no data; if there are any, the result is a masked array.
        fit: False: `channels` only decides the order of the axes of a TIFF.
        mask: (h, w), true where there is no data, see `masks.read_mask`.

    Returns:
        (height, width, channels) of uint8, uint16, int16 or float32.

    Raises:
        UserError: The file is not an image, is damaged or too large, or cannot be kept exactly.
    """
    with reading_errors(source):
        source = _source(source)
        if not source.member and source.stamp()[0] > LARGE:
            with source.path.open("rb") as file:
                _open(file, pages, max_pixels, channels)
        data = source.read()
    return decode(data, source, channels, pages, indices, max_pixels, nodata, fit, mask).pixels


def decode(
    data: bytes,
    name: object,
    channels: int | None = None,
    pages: str = "refuse",
    indices: bool = False,
    max_pixels: int = MAX_PIXELS,
    nodata: NoData = NO_NODATA,
    fit: bool = True,
    mask: Mask | None = None,
) -> Decoded:
    """Decode the bytes of an image file as `read`; `name` is for error messages."""
    with reading_errors(name), BytesIO(data) as file:
        opened, numbers, header = _open(file, pages, max_pixels, channels)
        tags = opened.tags(numbers[0])
        alpha = header.alpha and not indices

        def find(values: NDArray[Any]) -> Mask | None:
            return missing(values, nodata, tag=tags.nodata, alpha=alpha, mask=mask)

        decoded = [_decode_page(opened, number, indices, find) for number in numbers]
        pixels = decoded[0]
        if len(decoded) > 1:
            pixels = contiguous(np.ma.concatenate(decoded, axis=2))  # type: ignore[no-untyped-call]
    if channels is not None and fit:
        if nodata.alpha and alpha:
            pixels, alpha = without_alpha(pixels, channels), False
        pixels = fit_channels(pixels, alpha, channels, name)
    return Decoded(pixels, header, tags)


def read_tags(
    source: Source | Path | str,
    channels: int | None = None,
    pages: str = "refuse",
    max_pixels: int = MAX_PIXELS,
) -> Tags:
    """Read the tags of the first page that `read` reads. Raises UserError as `read`."""
    with reading_errors(source), _file(source) as file:
        opened, numbers, _ = _open(file, pages, max_pixels, channels)
        return opened.tags(numbers[0])


def read_header(
    source: Source | Path | str,
    pages: str = "refuse",
    max_pixels: int = MAX_PIXELS,
    channels: int | None = None,
) -> Header:
    """Read the header of what `read` returns, without decoding. Raises UserError as `read`."""
    with reading_errors(source), _file(source) as file:
        return _open(file, pages, max_pixels, channels)[2]


def _source(source: Source | Path | str) -> Source:
    """Return a source that is a regular file: reading a pipe or device could block."""
    source = source if isinstance(source, Source) else Source(Path(source))
    if not source.path.is_file():
        raise FileNotFoundError
    return source


def _file(source: Source | Path | str) -> BinaryIO:
    source = _source(source)
    return BytesIO(source.read()) if source.member else source.path.open("rb")


def is_readable(data: bytes) -> bool:
    """Return whether the first bytes of a file are those of a supported format."""
    return data.startswith(TIFFS) or _opener(data) is not None


def _opener(magic: bytes) -> Callable[[BinaryIO], ImageFile] | None:
    if magic[:4] == b"RIFF" and magic[8:12] == b"WEBP":
        return open_webp
    if is_netpbm(magic):
        return open_netpbm
    return next((opener for start, opener in OPENERS.items() if magic.startswith(start)), None)


def _open(
    file: BinaryIO, pages: str, max_pixels: int, channels: int | None
) -> tuple[ImageFile, range, Header]:
    """Read the header of a file, choose its pages, and return the header of all of them.

    All formats are checked here: no decoder is called for a file that is refused.
    """
    magic = file.read(16)
    file.seek(0)
    if magic.startswith(TIFFS):
        # imported here: most datasets have no TIFF, and tifffile takes time to load
        from .formats.tiff import open_tiff

        opened = open_tiff(file, channels, pages)
    elif (opener := _opener(magic)) is not None:
        opened = opener(file)
    else:
        raise Refused(f"is not an image in a supported format: {FORMATS}")
    if not 0 < opened.pages <= MAX_PAGES:
        raise Refused(f"has {f'more than {MAX_PAGES}' if opened.pages else 'no'} pages or frames")
    numbers = _chosen(opened.pages, pages)
    header = dataclasses.replace(opened.header(numbers[0]).upright(), pages=opened.pages)
    count = header.channels * len(numbers)
    check_size(header.height, header.width, max_pixels, count)
    if len(numbers) == 1:
        return opened, numbers, header
    for number in numbers:
        other = dataclasses.replace(opened.header(number).upright(), pages=opened.pages)
        if other != header:
            raise Refused(
                f"has pages of different types, which cannot be channels: page {numbers[0]} is "
                f"{_described(header)}, page {number} {_described(other)}"
            )
    mode = f"{count} channels"
    return opened, numbers, dataclasses.replace(header, channels=count, mode=mode, alpha=False)


def _described(header: Header) -> str:
    return f"{header.width}x{header.height} {header.mode} of {header.dtype}"


def _chosen(count: int, pages: str) -> range:
    """Return the numbers of the pages to read."""
    if pages == "bands":
        return range(count)
    if pages == "refuse":
        if count > 1:
            raise Refused(
                f"has {count} pages or frames; set the domain's pages to one of 0 to {count - 1}, "
                "or to bands, to use all as channels"
            )
        return range(1)
    if not pages.isdecimal():
        raise UserError(
            f"pages must be refuse, bands or an index from 0, not {pages!r}", option="pages"
        )
    if int(pages) >= count:
        raise Refused(f"has no page {pages}: it has {count}, counted from 0")
    return range(int(pages), int(pages) + 1)


def _decode_page(
    opened: ImageFile, number: int, indices: bool, find: Callable[[NDArray[Any]], Mask | None]
) -> Pixels:
    """Decode a page; `find` returns where its upright values have no data."""
    header = opened.header(number)
    values = upright(opened.pixels(number, indices), header.orientation)
    pixels = convert_masked(values, find(values), indices)
    if indices and pixels.shape[2] != 1:
        raise Refused(f"is {header.mode}; class indices need one channel or a palette")
    channels = 1 if indices else header.channels
    header = header.upright()
    if pixels.shape != (header.height, header.width, channels):
        raise Refused(f"{DAMAGED}: its image and its header differ in size")
    return pixels


@contextmanager
def reading_errors(name: object) -> Iterator[None]:
    """Turn any error of reading a file into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # decoders raise all kinds, and bytes can be anything
        raise UserError(_message(error, printable(name)), path=path_of(name)) from None


def _message(error: Exception, name: str) -> str:
    match error:
        case Refused():
            return f"{name} {error}"
        case MemoryError():
            return f"{name} does not fit into the free memory"
        case FileNotFoundError():
            return f"there is no file {name}"
        case zipfile.BadZipFile() | KeyError():
            return f"{name} cannot be read from its archive: {error}"
        case IndexError() | EOFError() | struct.error():
            return f"{name} {TRUNCATED}"
        case TypeError() | AttributeError() | AssertionError() | OverflowError():
            return f"{name} {DAMAGED}: its header is invalid"
    return f"{name} {DAMAGED}: {printable(error) or type(error).__name__}"
