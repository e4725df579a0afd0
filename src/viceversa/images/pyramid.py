"""Compute pyramid levels from bands of rows, and write them as a tiled TIFF."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import UserError
from ..files import write_atomically, write_error
from .header import Pixels, Tags
from .nodata import nodata_mask, value_for_dtype
from .writing import NO_TAGS, tiff_options

TILE = 512  # pixels
SMALLEST = 1024  # pixels of the longer side, above which there is another level
CLASSIC = 2**32 - 2**25  # bytes of tiles that a TIFF that is no BigTIFF stores, with its tags


class TiffRows:
    """Write an image from top to bottom as a tiled TIFF with a pyramid of levels of half the size.

    The levels are SubIFDs. Their pixels are averages of 2x2 pixels; pixels without data, and the
    colours of transparent pixels, do not contribute. Encoded tiles are kept in an unnamed temporary
    file until the image is complete, so the disk needs space for twice the size of the result.
    Files named .ome.tif or .ome.tiff contain OME-XML, and files of more than 4 GB are BigTIFF.

    Args:
        path: The file; it is complete when the context ends, and not written after an exception.
        shape: (height, width, channels).
        dtype: uint8, uint16, int16 or float32.
        tags: Metadata; its no-data value also marks pixels without data.
        alpha: Whether the last channel is alpha.
        labels: Whether values are classes: levels have the class of the top left of 2x2 pixels.

    Raises:
        UserError: The file could not be written.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        dtype: DTypeLike,
        tags: Tags = NO_TAGS,
        alpha: bool = False,
        labels: bool = False,
    ) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._tags, self._alpha = tags, alpha
        self._pyramid = Pyramid(shape, dtype, self._encode, tags.nodata, alpha, labels)
        self._tiles = [_Tiles(level) for level in self._pyramid.levels]

    def __enter__(self) -> TiffRows:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self.path.parent)
        except OSError as error:
            raise self._failed(error) from None
        return self

    def write(self, rows: Pixels) -> None:
        """Write the next rows, (h, width, channels). Raises UserError if the disk is full."""
        try:
            self._pyramid.add(rows)
        except OSError as error:
            raise self._failed(error) from None

    def _encode(self, number: int, rows: Pixels) -> None:
        self._tiles[number].encode(rows, self._file)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is not None:
                return
            self._pyramid.check_complete(self.path)
            write_atomically(self.path, self._assemble, self._file.tell(), durable=False)
        finally:
            with suppress(OSError):  # on a full disk, closing may fail to write buffered data
                self._file.close()

    def _assemble(self, temporary: Path) -> None:
        """Write the encoded tiles as a TIFF."""
        import tifffile  # imported here: few runs write TIFF

        _, _, channels = self.shape
        ome = self.path.name.lower().endswith((".ome.tif", ".ome.tiff"))
        below = NO_TAGS._replace(nodata=self._tags.nodata)
        bigtiff = self._file.tell() > CLASSIC
        with tifffile.TiffWriter(temporary, bigtiff=bigtiff, ome=ome, shaped=False) as file:
            for number, tiles in enumerate(self._tiles):
                level = tiles.level
                file.write(
                    tiles.read(self._file),
                    shape=level.shape if channels > 1 else level.shape[:2],
                    dtype=self.dtype,
                    tile=level.tile,
                    metadata={"axes": "YXS" if channels > 1 else "YX"} if ome else None,
                    software=False,
                    subifds=len(self._tiles) - 1 if number == 0 else None,
                    subfiletype=1 if number else 0,
                    **tiff_options(
                        self.dtype, channels, below if number else self._tags, self._alpha
                    ),
                )

    def _failed(self, error: OSError) -> UserError:
        why = write_error(error, self.path.parent)
        return UserError(f"{self.path} could not be written: {why}", path=self.path)


class _Tiles:
    """Encode the tiles of a level to a file, and read them again."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self._places: list[tuple[int, int]] = []  # position and length in the file

    def encode(self, rows: Pixels, file: IO[bytes]) -> None:
        """Append the tiles of a row of tiles to a file."""
        import imagecodecs

        high, wide = self.level.tile
        predict = (
            imagecodecs.floatpred_encode if rows.dtype.kind == "f" else imagecodecs.delta_encode
        )
        for left in range(0, rows.shape[1], wide):
            tile = np.zeros((high, wide, rows.shape[2]), rows.dtype)
            part = rows[:, left : left + wide]
            tile[: part.shape[0], : part.shape[1]] = part
            data = imagecodecs.deflate_encode(predict(tile, axis=-2).tobytes(), raw=False)
            self._places.append((file.tell(), len(data)))
            file.write(data)

    def read(self, file: IO[bytes]) -> Iterator[bytes]:
        """Yield the encoded tiles."""
        for start, length in self._places:
            file.seek(start)
            yield file.read(length)


class Pyramid:
    """Compute pyramid levels of half the size each from rows of an image.

    Args:
        shape: (height, width, channels).
        dtype: dtype of the pixels.
        store: Called with the number of a level and its next rows: one row of tiles, at the end the
            remaining rows. The rows are only valid during the call.
        nodata: Value of pixels without data as in GDAL's tag, or "".
        alpha: Whether the last channel is alpha.
        labels: Whether values are classes: levels have the class of the top left of 2x2 pixels.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: DTypeLike,
        store: Callable[[int, Pixels], object],
        nodata: str = "",
        alpha: bool = False,
        labels: bool = False,
    ) -> None:
        self.levels: list[Level] = []
        self.shape, self.dtype, self._store = shape, np.dtype(dtype), store
        value = value_for_dtype(self.dtype.name, nodata)
        height, width, channels = shape
        while True:
            self.levels.append(Level((height, width, channels), self.dtype, value, alpha, labels))
            if max(height, width) <= SMALLEST:
                break
            height, width = -(-height // 2), -(-width // 2)

    def add(self, rows: Pixels) -> None:
        """Add the next rows of the image, (h, width, channels)."""
        if rows.shape[1:] != self.shape[1:] or rows.dtype != self.dtype:
            raise ValueError(f"rows are {rows.shape} {rows.dtype}, not {self.shape} {self.dtype}")
        self._add(0, np.ma.getdata(rows))

    def _add(self, number: int, rows: Pixels) -> None:
        for part in self.levels[number].add(rows):
            self._store(number, part)
            if number + 1 < len(self.levels):
                self._add(number + 1, self.levels[number].halved(part))

    def check_complete(self, name: object) -> None:
        """Raise ValueError if rows of the image are missing."""
        if self.levels[0].missing:
            raise ValueError(f"{self.levels[0].missing} rows of {name} are missing")


class Level:
    """Collect rows until a row of tiles is complete."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        nodata: float | None,
        alpha: bool,
        labels: bool,
    ) -> None:
        height, width, channels = shape
        self.shape, self.nodata, self.alpha, self.labels = shape, nodata, alpha, labels
        # smaller images have smaller tiles; sides are multiples of 16
        self.tile = min(TILE, -(-height // 16) * 16), min(TILE, -(-width // 16) * 16)
        self.missing = height
        """Number of rows that were not added yet."""
        self._rows = np.empty((min(self.tile[0], height), width, channels), dtype)
        self._filled = 0

    def add(self, rows: Pixels) -> Iterator[Pixels]:
        """Add rows, and yield the rows of each complete row of tiles."""
        if len(rows) > self.missing:
            raise ValueError(f"{len(rows)} rows are more than the {self.missing} that are missing")
        while len(rows):
            count = min(len(rows), len(self._rows) - self._filled)
            self._rows[self._filled : self._filled + count] = rows[:count]
            self._filled, self.missing, rows = (
                self._filled + count,
                self.missing - count,
                rows[count:],
            )
            if self._filled == len(self._rows) or not self.missing:
                complete = self._rows[: self._filled]
                self._filled = 0
                yield complete

    def halved(self, rows: Pixels) -> Pixels:
        """Return rows of the level below."""
        if self.labels:
            return rows[::2, ::2]
        wide = self.tile[1]  # by tiles: sums need 8 times the memory of 8 bits
        parts = [self._halved(rows[:, i : i + wide]) for i in range(0, rows.shape[1], wide)]
        return np.concatenate(parts, axis=1)

    def _halved(self, rows: Pixels) -> Pixels:
        lost = nodata_mask(rows, self.nodata)
        if not self.alpha:
            return halved(rows, None if lost is None else ~lost, self.nodata or 0)
        colours, alpha = rows[:, :, :-1], rows[:, :, -1:]
        weights = alpha if lost is None else alpha * ~lost[:, :, :-1]
        return np.concatenate([halved(colours, weights, self.nodata or 0), halved(alpha)], axis=2)


def halved(rows: Pixels, weights: NDArray[Any] | None = None, fill: float = 0) -> Pixels:
    """Return averages of 2x2 pixels; at the border of an odd size, of fewer pixels.

    Args:
        rows: (h, w, channels).
        weights: Weights of the values, which broadcast to them; values of weight 0 may be NaN.
        fill: Value where all weights are 0.

    Returns:
        (ceil(h / 2), ceil(w / 2), channels); integers are rounded (halves are rounded up).
    """
    height, width, _ = rows.shape
    if height % 2 or width % 2:  # a repeated border changes no average
        border = ((0, height % 2), (0, width % 2), (0, 0))
        weights = None if weights is None else np.pad(weights, border, mode="edge")
        rows = np.pad(rows, border, mode="edge")
    floats = rows.dtype.kind == "f"
    if weights is None:
        total = _sums(rows, np.float64 if floats else np.int32)
        total = total / 4 if floats else (total + 2) >> 2
        return total.astype(rows.dtype)
    total = _sums(np.where(weights > 0, rows, 0) * weights.astype(np.float64), np.float64)
    count = np.broadcast_to(_sums(weights, np.float64), total.shape)
    averages = np.full_like(total, fill)
    np.divide(total, count, out=averages, where=count > 0)
    return (averages if floats else np.floor(averages + 0.5)).astype(rows.dtype)


def _sums(values: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return the sums of 2x2 values; height and width are even."""
    total: NDArray[Any] = values[::2, ::2].astype(dtype)
    for part in (values[::2, 1::2], values[1::2, ::2], values[1::2, 1::2]):
        total += part
    return total
