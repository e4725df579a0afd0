"""Read rows of a TIFF page: only the strips or tiles with these rows are decoded."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffPage

from ..header import DAMAGED, TRUNCATED, Refused
from .blocks import Blocks
from .pillow import open_jpeg

JPEG = 7


class PageRows:
    """Decode rows of a page as stored.

    Args:
        page: The page.
        file: Its file.
        size: Size of the file in bytes.

    Raises:
        Refused: Strips or tiles are missing, truncated, or far larger than the image.
    """

    def __init__(self, page: TiffPage, file: BinaryIO, size: int) -> None:
        check_segments(page, size)
        self._page, self._file = page, file
        self._raw = page.is_contiguous and page.fillorder == 1 and page.predictor == 1
        if self._raw and page.dataoffsets[0] + page.nbytes > size:
            raise Refused(TRUNCATED)
        self._high, self._across = segment_height(page), 1
        if page.is_tiled:
            self._across = math.ceil(page.imagewidth / page.tilewidth)
        self._blocks = Blocks(self._high, self._segments)
        self.together = 1 if self._raw else min(self._high, page.imagelength)
        """Number of rows that are decoded together."""

    def read(self, start: int, end: int) -> NDArray[Any]:
        """Return rows `start` to `end` as stored: (h, w, channels)."""
        if self._raw:
            return self._uncompressed(start, end)
        return self._blocks.read(start, end)

    def _uncompressed(self, start: int, end: int) -> NDArray[Any]:
        page = self._page
        planes, _, height, width, samples = page.shaped
        dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
        row = width * samples * dtype.itemsize
        result = np.empty((planes, end - start, width, samples), dtype)
        for plane in range(planes):
            self._file.seek(page.dataoffsets[0] + (plane * height + start) * row)
            data = self._file.read((end - start) * row)
            result[plane] = np.frombuffer(data, dtype).reshape(result.shape[1:])
        return channels_last(result.astype(dtype.newbyteorder("="), copy=False))

    def _segments(self, number: int) -> NDArray[Any]:
        """Return a row of strips or tiles: (h, w, channels)."""
        page = self._page
        planes, _, height, width, samples = page.shaped
        top = number * self._high
        result = np.empty((planes, min(self._high, height - top), width, samples), page.dtype)
        tables = {"jpegtables": page.jpegtables} if page.compression == JPEG else {}
        down = math.ceil(height / self._high)
        for plane in range(planes):
            first = (plane * down + number) * self._across
            for index in range(first, first + self._across):
                data = segment_bytes(page, self._file, index)
                segment, (_, _, _, left, _), _ = page.decode(data, index, **tables)
                assert segment is not None  # None only for bytes that are None
                part = segment[0, : result.shape[1], : width - left]
                result[plane, :, left : left + part.shape[1]] = part
        return channels_last(result)


def channels_last(values: NDArray[Any]) -> NDArray[Any]:
    """Return (planes, h, w, samples) as (h, w, channels); planes or samples are 1."""
    return np.moveaxis(values, 0, -1).reshape(*values.shape[1:3], -1)


def segment_height(page: TiffPage) -> int:
    """Return the rows of each strip or tile."""
    return page.tilelength if page.is_tiled else page.rowsperstrip


def segment_bytes(page: TiffPage, file: BinaryIO, index: int) -> bytes:
    """Read an encoded strip or tile. Raises Refused for a JPEG that is larger than declared."""
    file.seek(page.dataoffsets[index])
    data = file.read(page.databytecounts[index])
    if page.compression == JPEG:
        inner = open_jpeg(BytesIO(data)).header(0)
        width = page.tilewidth if page.is_tiled else page.imagewidth
        if inner.height > segment_height(page) or inner.width > width:
            raise Refused(f"{DAMAGED}: a tile is larger than declared")
    return data


def check_segments(page: TiffPage, size: int) -> None:
    """Raise Refused if strips or tiles are missing, truncated, or far larger than the image."""
    height, width = segment_height(page), page.tilewidth if page.is_tiled else page.imagewidth
    if height < 1 or width < 1:
        raise Refused(f"{DAMAGED}: its strips or tiles have no size")
    count = math.ceil(page.imagelength / height) * math.ceil(page.imagewidth / width)
    most = max(4 * page.imagelength * page.imagewidth, 2**22)
    if page.is_tiled and count * height * width > most:
        raise Refused(f"has tiles of {width}x{height}, far larger than its image")
    count *= page.samplesperpixel if page.planarconfig == 2 else 1
    if page.samplesperpixel > 1 and page.planarconfig not in (1, 2):
        raise Refused(f"{DAMAGED}: its planar configuration is invalid")
    offsets, sizes = (np.asarray(v, float) for v in (page.dataoffsets, page.databytecounts))
    if not len(offsets) == len(sizes) == count or (offsets < 8).any() or (sizes < 1).any():
        raise Refused(f"{DAMAGED}: strips or tiles are missing")
    if (offsets + sizes > size).any():
        raise Refused(TRUNCATED)
