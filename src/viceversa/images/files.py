"""Files <-> pixels as they are: every depth and every band, defined or refused, never clipped.

What is read, and as what, stands in the table of docs/data.md. In short:

- The content decides which decoder reads a file, not its name.
- Integers of 8 and 16 bits and float32 stay; wider integers become float32 where every value
  survives, float16 and float64 become float32; 1 bit becomes 0 and 255.
- Palettes, CMYK and YCbCr become RGB. Orientation is applied; colour profiles and gamma are not.
- Several pages or frames, NaN, Lab, complex numbers and what is too large are refused.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .bands import fit_bands, settled, to_pil, upright
from .endings import FORMATS, SUFFIXES
from .formats.encode import suffix_for, to_bytes, write
from .formats.gif import Gif
from .formats.jpeg2000 import CODESTREAM, JP2, Jpeg2000
from .formats.layout import MOST_PIXELS, Header, Layout, Opened, Opener, Pixels, Refused, guard
from .formats.netpbm import Netpbm, is_netpbm
from .formats.npy import Npy
from .formats.photos import Bmp, Jpeg, WebP
from .formats.png import Png
from .resizing import resize
from .sources import Source, printable

__all__ = [
    "MOST_PIXELS", "SUFFIXES", "Header", "Pixels", "decode", "fit_bands",
    "read", "read_header", "resize", "suffix_for", "to_bytes", "to_pil", "write",
]  # fmt: skip

LARGE = 2**26  # bytes: a file beyond this is looked at before it is read whole


def _tiff(file: BinaryIO, most: int) -> Opened:
    from .formats.tiff import (
        Tiff,  # here, since most data sets have none and tifffile takes time to load
    )

    return Tiff(file, most)


OPENERS: tuple[tuple[bytes, Opener], ...] = (
    (b"\x89PNG\r\n\x1a\n", Png),
    (b"\xff\xd8\xff", Jpeg),
    (b"GIF87a", Gif),
    (b"GIF89a", Gif),
    (b"BM", Bmp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"II+\0", _tiff),
    (b"MM\0+", _tiff),
    (b"\x93NUMPY", Npy),
    (JP2, Jpeg2000),
    (CODESTREAM, Jpeg2000),
)


def read(
    source: Source | Path | str,
    channels: int | None = None,
    pages: str = "refuse",
    indices: bool = False,
    most: int = MOST_PIXELS,
) -> Pixels:
    """A file as (height, width, bands), upright; `channels` as `fit_bands` makes them.

    `pages`: refuse, the number of one (from 0), or bands (all of one size, one behind the other).
    `indices`: the numbers of a palette's or a grey file's pixels. Raises UserError that names the
    file for what is no image, is damaged, is larger than `most` pixels, or cannot be kept as it is.
    """
    with explained(source):
        source = _source(source)
        if not source.member and source.stamp()[0] > LARGE:
            with source.path.open("rb") as file:
                _look(file, pages, most)
        data = source.read()
    return decode(data, source, channels, pages, indices, most)[0]


def decode(
    data: bytes,
    name: object,
    channels: int | None = None,
    pages: str = "refuse",
    indices: bool = False,
    most: int = MOST_PIXELS,
) -> tuple[Pixels, Header]:
    """The pixels of a file's bytes and its header; as `read`, with `name` for its errors."""
    with explained(name), BytesIO(data) as file:
        opened, numbers, header = _look(file, pages, most)
        made = [_page(opened, number, indices) for number in numbers]
        pixels = np.ascontiguousarray(made[0] if len(made) == 1 else np.concatenate(made, axis=2))
    if channels is not None:
        pixels = fit_bands(pixels, header.alpha and not indices, channels, _name(name))
    return pixels, header


def read_header(
    source: Source | Path | str, pages: str = "refuse", most: int = MOST_PIXELS
) -> Header:
    """What `read` will give, from the header alone. Raises UserError as `read`."""
    with explained(source):
        source = _source(source)
        with BytesIO(source.read()) if source.member else source.path.open("rb") as file:
            return _look(file, pages, most)[2]


def _source(source: Source | Path | str) -> Source:
    """A source whose file is one: a pipe or a device could keep its reader waiting for ever."""
    source = source if isinstance(source, Source) else Source(Path(source))
    if not source.path.is_file():
        raise FileNotFoundError
    return source


def _look(file: BinaryIO, pages: str, most: int) -> tuple[Opened, range, Header]:
    """A file's header understood, the pages chosen, and what they give together."""
    opened = _opened(file, most)
    numbers = _chosen(opened.pages, pages)
    return opened, numbers, _header(opened, numbers, most)


def readable(data: bytes) -> bool:
    """Whether the first bytes of a file are those of a format that is read."""
    return _opener(data) is not None


def _opener(magic: bytes) -> Opener | None:
    if magic[:4] == b"RIFF" and magic[8:12] == b"WEBP":
        return WebP
    if is_netpbm(magic):
        return Netpbm
    return next((opener for start, opener in OPENERS if magic.startswith(start)), None)


def _opened(file: BinaryIO, most: int) -> Opened:
    opener = _opener(file.read(16))
    file.seek(0)
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


def _page(opened: Opened, number: int, indices: bool) -> NDArray[Any]:
    values = settled(opened.pixels(number, indices), indices)
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
