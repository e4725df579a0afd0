"""Sources of image files: paths, and members of archives that are read in place."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

from ..errors import UserError


class ArchiveChanged(UserError):
    """An archive that changed since its members were listed."""


@dataclass(frozen=True, order=True)
class Source:
    """One image: the file `path`, or the file `member` inside the archive `path`.

    `start` and `length` are the position of a member in a tar archive; `archive` is the size,
    modification time and inode of the archive when its members were listed.
    """

    path: Path
    member: str = ""
    start: int = field(default=-1, compare=False)
    length: int = field(default=-1, compare=False)
    archive: tuple[int, int, int] | None = field(default=None, compare=False)

    @property
    def name(self) -> PurePosixPath:
        """Name of the image itself, without the archive."""
        return PurePosixPath(self.member or self.path.as_posix())

    def read(self) -> bytes:
        """Read the whole file.

        Raises OSError, zipfile.BadZipFile for a damaged archive, and ArchiveChanged.
        """
        if not self.member:
            return self.path.read_bytes()
        if self.start >= 0:
            with self.path.open("rb") as archive:
                self._refuse_changed(os.fstat(archive.fileno()))
                archive.seek(self.start)
                return archive.read(self.length)
        self._refuse_changed(self.path.stat())
        return _zip(self.path, self.stamp()).read(self.member)

    def _refuse_changed(self, status: os.stat_result) -> None:
        if self.archive not in (None, identity(status)):
            raise ArchiveChanged(
                f"{printable(str(self.path))} changed while it was in use (size, modification "
                "time or inode); run the command again to use its present contents",
                path=self.path,
            )

    def stamp(self) -> tuple[int, int]:
        """Return (size, modification time in ns) of the file, or of its archive."""
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def __str__(self) -> str:
        """Return the path as printable text."""
        text = f"{self.path}/{self.member}" if self.member else str(self.path)
        return printable(text)


def identity(status: os.stat_result) -> tuple[int, int, int]:
    """Return size, modification time and inode, which identify a version of a file."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def printable(name: object) -> str:
    """Return a file name with non-printable characters (newlines, broken UTF-8) escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in str(name)
    )


def path_of(name: object) -> Path | None:
    """Return the path of a source or path that names an image in messages; else None."""
    name = name.path if isinstance(name, Source) else name
    return name if isinstance(name, Path) else None


@lru_cache(maxsize=16)
def _zip(path: Path, stamp: tuple[int, int]) -> zipfile.ZipFile:
    """Open an archive once per version; many threads may read it at once."""
    return zipfile.ZipFile(path)
