"""Read an image in bands of rows, with memory that does not grow with its height."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .header import MAX_PIXELS, Pixels, Window
from .io import NO_NODATA, Conversion, ReadOptions, decode_page, open_source, reading_errors
from .nodata import Mask, NoData, check_mask, mask_of, masked
from .opening import open_image
from .sources import Source


class ImageRows:
    """Rows of an image; see `open_rows`. Only one thread may read them at a time."""

    def __init__(
        self, file: BinaryIO, name: object, options: ReadOptions, mask: Mask | None
    ) -> None:
        channels, pages, indices, max_pixels, nodata = options
        opened, numbers, header = open_image(file, pages, max_pixels, channels)
        self.tags = opened.tags(numbers[0])
        """Metadata of the file."""
        self.height, self.width = header.height, header.width
        self._conversion = Conversion(name, channels, indices, nodata, header, self.tags)
        self._pages = [opened.header(number) for number in numbers]
        self._mask = mask
        check_mask((self.height, self.width), mask)
        windows = [opened.window(number) for number in numbers]
        self._windows: list[Window] = [one for one in windows if one is not None]
        self._whole: Pixels | None = None
        if len(self._windows) < len(numbers):
            decoded = [decode_page(opened, n, self._conversion, mask) for n in numbers]
            self._whole = self._conversion.join(decoded)
        first = self.rows(0, 1)
        self.channels, self.dtype = first.shape[2], first.dtype
        """Channels and dtype of the rows."""

    @property
    def windowed(self) -> bool:
        """Whether rows are decoded on demand; False: the image was decoded as a whole."""
        return self._whole is None

    @property
    def together(self) -> int:
        """Number of rows that are decoded together: the height of a strip, tile or the image."""
        if self._whole is not None:
            return self.height
        return max(window.together for window in self._windows)

    def rows(self, start: int, end: int) -> Pixels:
        """Return rows `start` to `end` as `read` returns them.

        Args:
            start: First row, from 0.
            end: Row after the last one.

        Returns:
            (end - start, width, channels); a masked array if some of these pixels have no data.

        Raises:
            UserError: The rows are damaged, or have values that cannot be kept exactly.
        """
        if not 0 <= start < end <= self.height:
            raise ValueError(f"rows {start} to {end} of {self.height}")
        if self._whole is not None:
            part = self._whole[start:end]
            return masked(np.ma.getdata(part), mask_of(part))
        mask = None if self._mask is None else self._mask[start:end]
        with reading_errors(self._conversion.name):
            pages = [
                self._conversion.page(
                    window.read(start, end, self._conversion.indices), header, mask
                )
                for window, header in zip(self._windows, self._pages, strict=True)
            ]
            return self._conversion.join(pages)


@contextmanager
def open_rows(
    source: Source | Path | str,
    channels: int | None = None,
    pages: str = "refuse",
    indices: bool = False,
    max_pixels: int = MAX_PIXELS,
    nodata: NoData = NO_NODATA,
    mask: Mask | None = None,
) -> Iterator[ImageRows]:
    """Open an image file to read it in bands of rows.

    In a TIFF, only the strips or tiles that contain the rows are decoded. Other formats, rotated or
    mirrored TIFFs, TIFFs with a single compressed strip or tile, and arrays that are stored as
    pages are decoded as a whole.

    Args:
        source: See `read`, also for all other arguments.
        channels: Number of channels, or None.
        pages: refuse, the index of a page, or bands.
        indices: Whether to return class indices.
        max_pixels: Maximum number of pixels of the whole image.
        nodata: Which pixels have no data.
        mask: (height, width) of the whole image.

    Raises:
        UserError: See `read`; invalid values are detected when their rows are read.
    """
    options = ReadOptions(channels, pages, indices, max_pixels, nodata)
    with reading_errors(source):
        file = open_source(source)
    with file:
        with reading_errors(source):
            rows = ImageRows(file, source, options, mask)
        yield rows
