"""Open image files: choose the decoder and the pages, and check the header before decoding."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import UserError
from .formats.arrays import is_netpbm, open_netpbm, open_npy
from .formats.jpeg2000 import CODESTREAM, JP2, open_jpeg2000
from .formats.ome_zarr import METADATA, open_zarr
from .formats.pillow import open_bmp, open_gif, open_jpeg, open_webp
from .formats.png import SIGNATURE, open_png
from .formats.slides import is_slide_name, open_slide
from .header import MAX_PAGES, Header, ImageFile, Refused, check_size
from .sources import FORMATS

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


def is_readable(data: bytes) -> bool:
    """Return whether the first bytes of a file are those of a supported format."""
    return data.startswith(TIFFS) or _opener(data) is not None


def is_opened_by_path(path: Path) -> bool:
    """Return whether an image is opened by its path: slides and OME-Zarr."""
    return is_slide_name(path.name) or path.name in METADATA


def _opener(magic: bytes) -> Callable[[BinaryIO], ImageFile] | None:
    if magic[:4] == b"RIFF" and magic[8:12] == b"WEBP":
        return open_webp
    if is_netpbm(magic):
        return open_netpbm
    return next((opener for start, opener in OPENERS.items() if magic.startswith(start)), None)


def open_image(
    file: BinaryIO, pages: str, max_pixels: int, channels: int | None
) -> tuple[ImageFile, range, Header]:
    """Read the header of a file, choose its pages, and return the header of all of them.

    All formats are checked here: no decoder is called for a file that is refused.

    Args:
        file: The file, at its start; slides and OME-Zarr have a name and are opened by it.
        pages: refuse, the index of a page (from 0), or bands.
        max_pixels: Maximum number of pixels.
        channels: Channels of the domain, which decide the order of the axes of a TIFF.
    """
    magic, name = file.read(16), str(getattr(file, "name", ""))
    file.seek(0)
    if Path(name).name in METADATA:
        opened = open_zarr(Path(name).parent)
    elif is_slide_name(name) and pages == "refuse":  # else a page of a TIFF is chosen
        opened = open_slide(Path(name))
    elif magic.startswith(TIFFS):
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
