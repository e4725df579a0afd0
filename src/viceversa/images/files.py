"""Files <-> pixels as they are: every depth and every band, defined or refused, never clipped.

What is read, and as what, stands in the table of docs/data.md. In short:

- The content decides which decoder reads a file, not its name.
- Integers of 8 and 16 bits and float32 stay; wider integers become float32 where every value
  survives, float16 and float64 become float32; 1 bit becomes 0 and 255.
- Palettes, CMYK and YCbCr become RGB. Orientation is applied; colour profiles and gamma are not.
- Several pages or frames, NaN, Lab, complex numbers and what is too large are refused.
- Numbers with a no-data value, where one is given, are masked: the result is a masked array.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ..errors import UserError
from .bands import contiguous, fit_bands, settled_masked, to_pil, upright
from .endings import FORMATS, SUFFIXES
from .formats.encode import suffix_for, to_bytes, write
from .formats.gif import Gif
from .formats.jpeg2000 import CODESTREAM, JP2, Jpeg2000
from .formats.layout import (
    MOST_PIXELS,
    Geometry,
    Header,
    Layout,
    Opened,
    Opener,
    Pixels,
    Refused,
    Tags,
    guard,
)
from .formats.netpbm import Netpbm, is_netpbm
from .formats.npy import Npy
from .formats.photos import Bmp, Jpeg, WebP
from .formats.png import Png
from .nodata import NoData
from .resizing import resize
from .sources import Source, printable

__all__ = [
    "MOST_PIXELS", "SUFFIXES", "Decoded", "Geometry", "Header", "Pixels", "Tags", "decode",
    "fit_bands", "read", "read_header", "read_tags", "resize", "suffix_for", "to_bytes", "to_pil",
    "write",
]  # fmt: skip

NOTHING = NoData()
LARGE = 2**26  # bytes: a file beyond this is looked at before it is read whole


def _tiff(file: BinaryIO, most: int, channels: int | None, pages: str) -> Opened:
    # here, since most data sets have none and tifffile takes time to load
    from .formats.tiff import Tiff
    from .formats.tiff_axes import arranged

    return arranged(Tiff(file, most), channels, pages, most)


OPENERS: tuple[tuple[bytes, Opener], ...] = (
    (b"\x89PNG\r\n\x1a\n", Png),
    (b"\xff\xd8\xff", Jpeg),
    (b"GIF87a", Gif),
    (b"GIF89a", Gif),
    (b"BM", Bmp),
    (b"\x93NUMPY", Npy),
    (JP2, Jpeg2000),
    (CODESTREAM, Jpeg2000),
)
TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Decoded(NamedTuple):
    """A decoded file: a masked array where it has no-data pixels, else a plain one."""

    pixels: Pixels
    header: Header
    tags: Tags


def read(
    source: Source | Path | str,
    channels: int | None = None,
    pages: str = "refuse",
    indices: bool = False,
    most: int = MOST_PIXELS,
    nodata: NoData = NOTHING,
    fit: bool = True,
) -> Pixels:
    """A file as (height, width, bands), upright; `channels` as `fit_bands` makes them.

    `pages`: refuse, the number of one (from 0), or bands (all of one size, one behind the other).
    `indices`: the numbers of a palette's or a grey file's pixels. `nodata`: which numbers are no
    data; if there are some, the result is a masked array. Without `fit`, `channels` only decides
    how a TIFF's axes are read, and all its bands are returned. Raises UserError that names the file
    for what is no image, is damaged, is larger than `most` pixels, or cannot be kept as it is.
    """
    with explained(source):
        source = _source(source)
        if not source.member and source.stamp()[0] > LARGE:
            with source.path.open("rb") as file:
                _look(file, pages, most, channels)
        data = source.read()
    return decode(data, source, channels, pages, indices, most, nodata, fit).pixels


def decode(
    data: bytes,
    name: object,
    channels: int | None = None,
    pages: str = "refuse",
    indices: bool = False,
    most: int = MOST_PIXELS,
    nodata: NoData = NOTHING,
    fit: bool = True,
) -> Decoded:
    """The pixels of a file's bytes, its header and tags; as `read`, with `name` for its errors."""
    with explained(name), BytesIO(data) as file:
        opened, numbers, header = _look(file, pages, most, channels)
        tags = opened.tags(numbers[0])
        value = nodata.for_tag(tags.nodata)
        made = [_page(opened, number, indices, value) for number in numbers]
        if len(made) > 1:
            made = [np.ma.concatenate(made, axis=2)]  # type: ignore[no-untyped-call]
        pixels = contiguous(made[0])
    if channels is not None and fit:
        pixels = fit_bands(pixels, header.alpha and not indices, channels, _name(name))
    return Decoded(pixels, header, tags)


def read_tags(
    source: Source | Path | str,
    channels: int | None = None,
    pages: str = "refuse",
    most: int = MOST_PIXELS,
) -> Tags:
    """The tags of the page that `read` reads, or of the first one. Raises UserError as `read`."""
    with explained(source):
        source = _source(source)
        with BytesIO(source.read()) if source.member else source.path.open("rb") as file:
            opened, numbers, _ = _look(file, pages, most, channels)
            return opened.tags(numbers[0])


def read_header(
    source: Source | Path | str,
    pages: str = "refuse",
    most: int = MOST_PIXELS,
    channels: int | None = None,
) -> Header:
    """What `read` will give, from the header alone. Raises UserError as `read`."""
    with explained(source):
        source = _source(source)
        with BytesIO(source.read()) if source.member else source.path.open("rb") as file:
            return _look(file, pages, most, channels)[2]


def _source(source: Source | Path | str) -> Source:
    """A source whose file is one: a pipe or a device could keep its reader waiting for ever."""
    source = source if isinstance(source, Source) else Source(Path(source))
    if not source.path.is_file():
        raise FileNotFoundError
    return source


def _look(
    file: BinaryIO, pages: str, most: int, channels: int | None
) -> tuple[Opened, range, Header]:
    """A file's header understood, the pages chosen, and what they give together."""
    opened = _opened(file, most, channels, pages)
    numbers = _chosen(opened.pages, pages)
    return opened, numbers, _header(opened, numbers, most)


def readable(data: bytes) -> bool:
    """Whether the first bytes of a file are those of a format that is read."""
    return data.startswith(TIFFS) or _opener(data) is not None


def _opener(magic: bytes) -> Opener | None:
    if magic[:4] == b"RIFF" and magic[8:12] == b"WEBP":
        return WebP
    if is_netpbm(magic):
        return Netpbm
    return next((opener for start, opener in OPENERS if magic.startswith(start)), None)


def _opened(file: BinaryIO, most: int, channels: int | None, pages: str) -> Opened:
    magic = file.read(16)
    file.seek(0)
    if magic.startswith(TIFFS):
        return _tiff(file, most, channels, pages)
    opener = _opener(magic)
    if opener is not None:
        return opener(file, most)
    raise Refused(f"is not an image that can be read: {FORMATS}")


def _chosen(count: int, pages: str) -> range:
    """The numbers of the pages to read."""
    if pages == "bands":
        return range(count)
    if pages == "refuse":
        if count > 1:
            raise Refused(
                f"holds {count} pages or frames; choose one by the domain's pages, 0 to "
                f"{count - 1}, or take all as bands with pages bands"
            )
        return range(1)
    if not pages.isdecimal():
        raise UserError(f"pages is refuse, bands or a number from 0, not {pages!r}")
    if int(pages) >= count:
        raise Refused(f"has no page {pages}: it holds {count}, counted from 0")
    return range(int(pages), int(pages) + 1)


def _header(opened: Opened, numbers: range, most: int) -> Header:
    """What the chosen pages give together. Raises Refused where they don't fit each other."""
    first = opened.layout(numbers[0])
    header = first.header(opened.pages)
    if len(numbers) == 1:
        return header
    bands = first.bands * len(numbers)
    guard(first.height, first.width, most, bands)
    for number in numbers:
        other = opened.layout(number)
        if other.header(opened.pages) != header:
            raise Refused(
                f"has pages of different kinds, which are no bands: page {numbers[0]} is "
                f"{_said(first)}, page {number} {_said(other)}"
            )
    return Header(
        header.height, header.width, bands, header.dtype, f"{bands} bands", opened.pages, False
    )


def _said(layout: Layout) -> str:
    return f"{layout.width}x{layout.height} {layout.mode} of {layout.dtype}"


def _page(opened: Opened, number: int, indices: bool, nodata: float | None) -> Pixels:
    values = settled_masked(opened.pixels(number, indices), nodata, indices)
    values = values[:, :, None] if values.ndim == 2 else values
    layout = opened.layout(number)
    if indices and values.shape[2] != 1:
        raise Refused(f"is {layout.mode}; class numbers need one band or a palette")
    return upright(values, layout.orientation)


def _name(source: object) -> str:
    return printable(str(source))


@contextmanager
def explained(name: object) -> Iterator[None]:
    """Whatever is wrong with a file becomes a UserError that names it, whichever bytes it holds."""
    try:
        yield
    except UserError:
        raise
    except Refused as error:
        raise UserError(f"{_name(name)} {error}") from None
    except MemoryError:
        raise UserError(f"{_name(name)} does not fit in the memory that is free") from None
    except FileNotFoundError:
        raise UserError(f"there is no file {_name(name)}") from None
    except (IndexError, EOFError, struct.error):
        raise UserError(f"{_name(name)} is damaged or cannot be read: it ends too early") from None
    except (TypeError, AttributeError, AssertionError, OverflowError):
        reason = "its header makes no sense"
        raise UserError(f"{_name(name)} is damaged or cannot be read: {reason}") from None
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{_name(name)} cannot be read from its archive: {error}") from None
    except Exception as error:  # decoders raise of every family, and bytes can be anything
        what = printable(str(error)) or type(error).__name__
        raise UserError(f"{_name(name)} is damaged or cannot be read: {what}") from None
