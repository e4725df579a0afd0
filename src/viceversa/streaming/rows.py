"""Streams of rows: each stream yields the rows of a map once, from top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from .operations import Operation
from .scratch import MapFile


class Stream(Protocol):
    """Rows of a map."""

    def take(self, end: int) -> Tensor:
        """Return the rows (1, channels, rows, width) after those of the last call, up to `end`."""
        ...


class Image:
    """Rows of the image: `read(start, end)` returns them."""

    def __init__(self, read: Callable[[int, int], Tensor]) -> None:
        self.read, self.position = read, 0

    def take(self, end: int) -> Tensor:
        start, self.position = self.position, end
        return self.read(start, end)


class Stored:
    """Rows of a map in a file."""

    def __init__(self, file: MapFile, device: torch.device) -> None:
        self.file, self.device = file, device

    def take(self, end: int) -> Tensor:
        return self.file.read_rows(end).to(self.device)


class Mapped:
    """A function of the rows of streams, such as a pointwise layer or a sum."""

    def __init__(self, function: Callable[..., Tensor], *sources: Stream) -> None:
        self.function, self.sources = function, sources

    def take(self, end: int) -> Tensor:
        return self.function(*[source.take(end) for source in self.sources])


class Windowed:
    """Rows of a layer that depends on neighbouring rows; keeps input rows that are needed again."""

    def __init__(self, operation: Operation, source: Stream) -> None:
        self.operation, self.source = operation, source
        self.position = self.first = self.end = 0
        """Next row; first row that is kept, and the row after the last one."""
        self.kept: Tensor | None = None

    def take(self, end: int) -> Tensor:
        start, self.position = self.position, end
        needed = self.operation.needs(start, end)[1]
        if needed > self.end:
            self.kept = _joined(self.kept, self.source.take(needed))
            self.end = needed
        assert self.kept is not None
        result = self.operation.rows(self.kept, self.first, start, end)
        first = min(self.operation.first(end), self.end)
        self.kept = self.kept[:, :, first - self.first :].clone()
        self.first = first
        return result


class Shared:
    """Rows of a stream for several readers. Rows are kept until all have read them."""

    def __init__(self, source: Stream) -> None:
        self.source, self.readers = source, list[Reader]()
        self.first = self.end = 0
        self.kept: Tensor | None = None

    def reader(self) -> Reader:
        """Return a stream for one more reader."""
        self.readers.append(Reader(self))
        return self.readers[-1]

    def between(self, start: int, end: int) -> Tensor:
        """Return rows for a reader; they are kept until all readers have read them."""
        if end > self.end:
            self.kept = _joined(self.kept, self.source.take(end))
            self.end = end
        assert self.kept is not None
        return self.kept[:, :, start - self.first : end - self.first]

    def drop(self) -> None:
        """Drop the rows that all readers have read."""
        first = min(reader.position for reader in self.readers)
        if self.kept is not None and first > self.first:
            self.kept = self.kept[:, :, first - self.first :].clone()
            self.first = first


class Reader:
    """One of the readers of a stream."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.position = shared, 0

    def take(self, end: int) -> Tensor:
        start, self.position = self.position, end
        rows = self.shared.between(start, end)
        self.shared.drop()
        return rows


class Written:
    """Rows of a stream that are also written to a file.

    Args:
        source: The stream.
        file: The file.
        overwritten: Whether the file contains the map that the rows are computed from. A row is
            written after it was read.
    """

    def __init__(self, source: Stream, file: MapFile, overwritten: bool) -> None:
        self.source, self.file, self.overwritten = source, file, overwritten

    def take(self, end: int) -> Tensor:
        rows = self.source.take(end)
        if self.overwritten:
            assert self.file.read >= end
        self.file.write_rows(rows)
        return rows


def _joined(kept: Tensor | None, rows: Tensor) -> Tensor:
    return rows if kept is None else torch.cat([kept, rows], dim=2)


def concatenated(*rows: Tensor) -> Tensor:
    """Concatenate the channels of rows of several maps."""
    return torch.cat(rows, dim=1)


def added(first: Tensor, second: Tensor) -> Tensor:
    """Add rows of several maps."""
    return first + second
