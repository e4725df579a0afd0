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

import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .formats.ome_zarr import is_zarr, metadata_file
from .header import DAMAGED, MAX_PIXELS, TRUNCATED, Header, ImageFile, Pixels, Refused, Tags
from .nodata import Mask, NoData, missing
from .opening import is_opened_by_path, open_image
from .pixels import contiguous, convert_masked, fit_channels, upright, without_alpha
from .sources import Source, path_of, printable

OTHER_SIZE = f"{DAMAGED}: its image and its header differ in size"
LARGE = 2**26  # bytes; of larger files, the header is checked before the whole file is read
NO_NODATA = NoData()


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
        found = regular(source)
        by_path = not found.member and is_opened_by_path(found.path)
        if not found.member and found.stamp()[0] > LARGE and not by_path:
            with found.path.open("rb") as opened:
                open_image(opened, pages, max_pixels, channels)
        file: BinaryIO = found.path.open("rb") if by_path else BytesIO(found.read())
    options = ReadOptions(channels, pages, indices, max_pixels, nodata)
    return _decode(file, source, options, fit, mask).pixels


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
    options = ReadOptions(channels, pages, indices, max_pixels, nodata)
    return _decode(BytesIO(data), name, options, fit, mask)


def _decode(
    file: BinaryIO, name: object, options: ReadOptions, fit: bool, mask: Mask | None
) -> Decoded:
    channels, pages, indices, max_pixels, nodata = options
    with reading_errors(name), file:
        opened, numbers, header = open_image(file, pages, max_pixels, channels)
        tags = opened.tags(numbers[0])
        conversion = Conversion(name, channels if fit else None, indices, nodata, header, tags)
        pixels = conversion.join([decode_page(opened, n, conversion, mask) for n in numbers])
    return Decoded(pixels, header, tags)


class Conversion(NamedTuple):
    """Convert decoded values of an image to its pixels."""

    name: object
    channels: int | None
    indices: bool
    nodata: NoData
    header: Header
    tags: Tags

    @property
    def alpha(self) -> bool:
        """Whether the last channel of the values is alpha."""
        return self.header.alpha and not self.indices

    def page(self, values: NDArray[Any], page: Header, mask: Mask | None) -> Pixels:
        """Convert upright values of a page, or of some of its rows, and mask pixels without data.

        Args:
            values: (h, w) or (h, w, channels) as decoded.
            page: Header of the page.
            mask: (h, w), true where there is no data.

        Raises:
            Refused: The values cannot be kept exactly, or their size differs from the header.
        """
        lost = missing(values, self.nodata, tag=self.tags.nodata, alpha=self.alpha, mask=mask)
        pixels = convert_masked(values, lost, self.indices)
        if self.indices and pixels.shape[2] != 1:
            raise Refused(f"is {page.mode}; class indices need one channel or a palette")
        if pixels.shape[1:] != (page.width, 1 if self.indices else page.channels):
            raise Refused(OTHER_SIZE)
        return pixels

    def join(self, pages: list[Pixels]) -> Pixels:
        """Join the channels of the pages, and convert them to the number of channels."""
        pixels, alpha = pages[0], self.alpha
        if len(pages) > 1:
            pixels = contiguous(np.ma.concatenate(pages, axis=2))  # type: ignore[no-untyped-call]
        if self.channels is None:
            return pixels
        if self.nodata.alpha and alpha:
            pixels, alpha = without_alpha(pixels, self.channels), False
        return fit_channels(pixels, alpha, self.channels, self.name)


def decode_page(
    opened: ImageFile, number: int, conversion: Conversion, mask: Mask | None
) -> Pixels:
    """Decode a page, upright."""
    header = opened.header(number)
    values = upright(opened.pixels(number, conversion.indices), header.orientation)
    header = header.upright()
    pixels = conversion.page(values, header, mask)
    if pixels.shape[0] != header.height:
        raise Refused(OTHER_SIZE)
    return pixels


def read_tags(
    source: Source | Path | str,
    channels: int | None = None,
    pages: str = "refuse",
    max_pixels: int = MAX_PIXELS,
) -> Tags:
    """Read the tags of the first page that `read` reads. Raises UserError as `read`."""
    with reading_errors(source), open_source(source) as file:
        opened, numbers, _ = open_image(file, pages, max_pixels, channels)
        return opened.tags(numbers[0])


def read_header(
    source: Source | Path | str,
    pages: str = "refuse",
    max_pixels: int = MAX_PIXELS,
    channels: int | None = None,
) -> Header:
    """Read the header of what `read` returns, without decoding. Raises UserError as `read`."""
    with reading_errors(source), open_source(source) as file:
        return open_image(file, pages, max_pixels, channels)[2]


def regular(source: Source | Path | str) -> Source:
    """Return a source that is a regular file: reading a pipe or device could block.

    For an OME-Zarr, which is a folder, return its metadata file.
    """
    source = source if isinstance(source, Source) else Source(Path(source))
    if not source.member and is_zarr(source.path):
        source = Source(metadata_file(source.path))
    if not source.path.is_file():
        raise FileNotFoundError
    return source


def open_source(source: Source | Path | str) -> BinaryIO:
    source = regular(source)
    return BytesIO(source.read()) if source.member else source.path.open("rb")


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
