"""Files <-> pixels: every dtype and number of channels is kept as it is or refused, never clipped.

docs/data.md has the table of what is read, and as what. In short:

- The content decides which decoder reads a file, not its name.
- Integers of 8 and 16 bits and float32 stay; wider integers become float32 if every value
  survives, float16 and float64 become float32; 1 bit becomes 0 and 255.
- Palettes, CMYK and YCbCr become RGB. Orientation is applied; colour profiles and gamma are not.
- Several pages or frames, NaN, Lab, complex numbers and what is too large are refused.
- Values equal to a no-data value, if one is given, are masked: the result is a masked array.
"""

from __future__ import annotations

import dataclasses
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

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
from .nodata import NoData
from .pixels import contiguous, convert_masked, fit_channels, upright
from .sources import FORMATS, Source, path_of, printable

LARGE = 2**26  # bytes: the header of a larger file is checked before the file is read
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
    """A decoded file. `pixels` is a masked array if some of them have no data."""

    pixels: Pixels
    header: Header
    tags: Tags


def read(
    source: Source | Path | str,
    channels: int | None = None,
    pages: str = "refuse",
    indices: bool = False,
    most: int = MAX_PIXELS,
    nodata: NoData = NO_NODATA,
    fit: bool = True,
) -> Pixels:
    """Read an image file as (height, width, channels), upright.

    Args:
        source: The file, or a member of an archive.
        channels: Number of channels, converted by `fit_channels`; None: those of the file.
        pages: refuse, the number of one (from 0), or bands (all, of one size, as channels).
        indices: Whether to return the palette indices or grey values of a label map.
        most: Maximum number of pixels.
        nodata: Values that mean no data; if there are some, the result is a masked array.
        fit: False: `channels` only decides how the axes of a TIFF are read.

    Raises:
        UserError: The file is no image, is damaged or too large, or cannot be kept as it is.
    """
    with reading_errors(source):
        source = _source(source)
        if not source.member and source.stamp()[0] > LARGE:
            with source.path.open("rb") as file:
                _open(file, pages, most, channels)
        data = source.read()
    return decode(data, source, channels, pages, indices, most, nodata, fit).pixels


def decode(
    data: bytes,
    name: object,
    channels: int | None = None,
    pages: str = "refuse",
    indices: bool = False,
    most: int = MAX_PIXELS,
    nodata: NoData = NO_NODATA,
    fit: bool = True,
) -> Decoded:
    """Decode the bytes of an image file; as `read`, with `name` for error messages."""
    with reading_errors(name), BytesIO(data) as file:
        opened, numbers, header = _open(file, pages, most, channels)
        tags = opened.tags(numbers[0])
        value = nodata.for_tag(tags.nodata)
        decoded = [_decode_page(opened, number, indices, value) for number in numbers]
        pixels = decoded[0]
        if len(decoded) > 1:
            pixels = contiguous(np.ma.concatenate(decoded, axis=2))  # type: ignore[no-untyped-call]
    if channels is not None and fit:
        pixels = fit_channels(pixels, header.alpha and not indices, channels, name)
    return Decoded(pixels, header, tags)


def read_tags(
    source: Source | Path | str,
    channels: int | None = None,
    pages: str = "refuse",
    most: int = MAX_PIXELS,
) -> Tags:
    """Read the tags of the first page that `read` reads. Raises UserError as `read`."""
    with reading_errors(source), _file(source) as file:
        opened, numbers, _ = _open(file, pages, most, channels)
        return opened.tags(numbers[0])


def read_header(
    source: Source | Path | str,
    pages: str = "refuse",
    most: int = MAX_PIXELS,
    channels: int | None = None,
) -> Header:
    """Read the header of what `read` returns, without decoding. Raises UserError as `read`."""
    with reading_errors(source), _file(source) as file:
        return _open(file, pages, most, channels)[2]


def _source(source: Source | Path | str) -> Source:
    """Return a source that is a regular file: reading a pipe or device could wait for ever."""
    source = source if isinstance(source, Source) else Source(Path(source))
    if not source.path.is_file():
        raise FileNotFoundError
    return source


def _file(source: Source | Path | str) -> BinaryIO:
    source = _source(source)
    return BytesIO(source.read()) if source.member else source.path.open("rb")


def is_readable(data: bytes) -> bool:
    """Return whether the first bytes of a file are those of a format that is read."""
    return data.startswith(TIFFS) or _opener(data) is not None


def _opener(magic: bytes) -> Callable[[BinaryIO], ImageFile] | None:
    if magic[:4] == b"RIFF" and magic[8:12] == b"WEBP":
        return open_webp
    if is_netpbm(magic):
        return open_netpbm
    return next((opener for start, opener in OPENERS.items() if magic.startswith(start)), None)


def _open(
    file: BinaryIO, pages: str, most: int, channels: int | None
) -> tuple[ImageFile, range, Header]:
    """Read the header of a file, choose its pages, and return the header of all of them.

    This is the guard of all formats: nothing that Refused is raised for reaches a decoder.
    """
    magic = file.read(16)
    file.seek(0)
    if magic.startswith(TIFFS):
        # here, since most data sets have none and tifffile takes time to load
        from .formats.tiff import open_tiff

        opened = open_tiff(file, channels, pages)
    elif (opener := _opener(magic)) is not None:
        opened = opener(file)
    else:
        raise Refused(f"is not an image that can be read: {FORMATS}")
    if not 0 < opened.pages <= MAX_PAGES:
        raise Refused(f"holds {f'more than {MAX_PAGES}' if opened.pages else 'no'} pages or frames")
    numbers = _chosen(opened.pages, pages)
    header = dataclasses.replace(opened.header(numbers[0]).upright(), pages=opened.pages)
    count = header.channels * len(numbers)
    check_size(header.height, header.width, most, count)
    if len(numbers) == 1:
        return opened, numbers, header
    for number in numbers:
        other = dataclasses.replace(opened.header(number).upright(), pages=opened.pages)
        if other != header:
            raise Refused(
                f"has pages of different kinds, which cannot become channels: page {numbers[0]} is "
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
                f"holds {count} pages or frames; choose one by the domain's pages, 0 to "
                f"{count - 1}, or take all as channels with pages bands"
            )
        return range(1)
    if not pages.isdecimal():
        raise UserError(f"pages is refuse, bands or a number from 0, not {pages!r}", option="pages")
    if int(pages) >= count:
        raise Refused(f"has no page {pages}: it holds {count}, counted from 0")
    return range(int(pages), int(pages) + 1)


def _decode_page(opened: ImageFile, number: int, indices: bool, nodata: float | None) -> Pixels:
    header = opened.header(number)
    pixels = convert_masked(opened.pixels(number, indices), nodata, indices)
    if indices and pixels.shape[2] != 1:
        raise Refused(f"is {header.mode}; class numbers need one channel or a palette")
    channels = 1 if indices else header.channels
    if pixels.shape != (header.height, header.width, channels):
        raise Refused(f"{DAMAGED}: its image does not have the size of its header")
    return upright(pixels, header.orientation)


@contextmanager
def reading_errors(name: object) -> Iterator[None]:
    """Turn any error of reading a file into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # decoders raise all kinds, and bytes can be anything
        raise UserError(f"{_message(error, printable(name))}", path=path_of(name)) from None


def _message(error: Exception, name: str) -> str:
    match error:
        case Refused():
            return f"{name} {error}"
        case MemoryError():
            return f"{name} does not fit in the memory that is free"
        case FileNotFoundError():
            return f"there is no file {name}"
        case zipfile.BadZipFile() | KeyError():
            return f"{name} cannot be read from its archive: {error}"
        case IndexError() | EOFError() | struct.error():
            return f"{name} {TRUNCATED}"
        case TypeError() | AttributeError() | AssertionError() | OverflowError():
            return f"{name} {DAMAGED}: its header is invalid"
    return f"{name} {DAMAGED}: {printable(error) or type(error).__name__}"
