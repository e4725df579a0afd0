"""Maps in temporary files, written and read by rows.

Files are read and written with pread and pwrite, since pages of memory maps would count as memory
of the process. The files have no name, so nothing is left when the process is killed.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..files import format_bytes, free_space, write_error
from .operations import Shape


class MapFile:
    """A map (channels, height, width) of float32 in a file, one row after the other."""

    def __init__(self, file: IO[bytes], shape: Shape) -> None:
        self.file, self.shape = file, shape
        self.written = self.read = 0
        """Rows that were written, and read, since `rewind`."""

    def rewind(self) -> None:
        """Begin to read or write at the first row."""
        self.written = self.read = 0

    def write_rows(self, rows: Tensor) -> None:
        """Write the next rows (1, channels, rows, width). Raises OSError."""
        data = rows[0].float().permute(1, 0, 2).contiguous().cpu().numpy()
        _write_all(self.file.fileno(), data.data.cast("B"), self.written * self._row)
        self.written += len(data)

    def read_rows(self, end: int) -> Tensor:
        """Read the next rows, up to `end`, as (1, channels, rows, width). Raises OSError."""
        channels, _, width = self.shape
        data = np.empty((end - self.read, channels, width), dtype=np.float32)
        _read_all(self.file.fileno(), data.data.cast("B"), self.read * self._row)
        self.read = end
        return torch.from_numpy(data).permute(1, 0, 2).contiguous()[None]

    @property
    def _row(self) -> int:
        return 4 * self.shape[0] * self.shape[2]


def _write_all(number: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.pwrite(number, data, offset)
        data, offset = data[done:], offset + done


def _read_all(number: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.preadv(number, [data], offset)
        if not done:
            raise OSError("a temporary file ends too early")
        data, offset = data[done:], offset + done


class Scratch:
    """Temporary files in a folder, which are removed at the end of a `with` block.

    Args:
        folder: The folder.
        needed: Bytes that the files need at most.

    Raises:
        UserError: The disk has less free space, or cannot be written to.
    """

    def __init__(self, folder: Path, needed: int) -> None:
        self.folder, self.needed, self._files = folder, needed, ExitStack()
        if needed > (free := free_space(folder)):
            raise UserError(
                f"{format_bytes(needed)} of temporary files are needed in {folder}, and "
                f"{format_bytes(free)} are free; name a folder on another disk with --scratch",
                option="--scratch",
                path=folder,
            )

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()
        if isinstance(error, OSError):
            why = write_error(error, self.folder, self.needed)
            raise UserError(
                f"temporary files in {self.folder} could not be used: {why}",
                option="--scratch",
                path=self.folder,
            ) from None

    def create(self, shape: Shape) -> MapFile:
        """Return a new file for a map. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return MapFile(self._files.enter_context(tempfile.TemporaryFile(dir=self.folder)), shape)

    def remove(self, one: MapFile) -> None:
        """Free the space of a file."""
        one.file.close()
