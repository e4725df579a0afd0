"""Image files (paths, or members of archives that are read in place) and their names."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import UserError


class ArchiveChanged(UserError):
    """An archive changed after its members were listed."""


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

    @property
    def suffix(self) -> str:
        """Suffix of the name, such as ".png"."""
        return self.name.suffix

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
                f"{printable(self.path)} changed while it was read (size, modification time or "
                "inode); run the command again",
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
    """Return the path of a source or path; None for other names of images."""
    name = name.path if isinstance(name, Source) else name
    return name if isinstance(name, Path) else None


@lru_cache(maxsize=16)
def _zip(path: Path, stamp: tuple[int, int]) -> zipfile.ZipFile:
    """Open an archive once per version; many threads may read it at once."""
    return zipfile.ZipFile(path)


FORMATS = "PNG, JPEG, JPEG 2000, WebP, BMP, GIF, TIFF, PBM, PGM, PPM or NPY"
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp")
SUFFIXES = frozenset(
    (*JPEG_SUFFIXES, ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".btf")
) | frozenset((".npy", ".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc"))
COMPRESSED = frozenset((".gz", ".bz2", ".xz", ".zst", ".z", ".lz4", ".lzma"))
SIDECARS = """
    .txt .csv .tsv .json .jsonl .geojson .xml .md .rst .html .htm .css .js .py .pyc .ipynb .m .r
    .sh .bat .ps1 .yaml .yml .toml .ini .cfg .conf .log .doc .docx .rtf .odt .xls .xlsx .ods .db
    .sqlite .url .lnk .md5 .sha1 .sha256 .sig .asc .bib .tex .cls .tfw .pgw .jgw .wld .prj .xmp .aae
"""
DOCUMENTS = """
    readme changelog changes license licence copying notice authors attribution makefile dockerfile
    md5sums sha1sums sha256sums sha512sums
"""
SIDECAR_SUFFIXES, SIDECAR_NAMES = frozenset(SIDECARS.split()), frozenset(DOCUMENTS.split())


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is read as an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden or of the system, and so not reported."""
    return name.startswith(".") or name in ("Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir")


def is_sidecar(name: str) -> bool:
    """Return whether a file is clearly not an image: text, a table, a script, a checksum."""
    stem, suffix = os.path.splitext(name.rpartition("/")[2].lower())
    return suffix in SIDECAR_SUFFIXES or (not suffix and stem in SIDECAR_NAMES)


def ending(name: str) -> str:
    """Return the ending of a name in lower case, such as ".nii.gz"; "" if it has none."""
    stem, last = os.path.splitext(name.rpartition("/")[2].lower())
    if not re.fullmatch(r"\.\w*[^\W\d]\w*", last):  # "IM.0001" has none
        return ""
    inner = os.path.splitext(stem)[1]
    double = last in COMPRESSED or inner == ".ome"
    return inner + last if double and re.fullmatch(r"\.[a-z]\w{0,7}", inner) else last


class Unread(NamedTuple):
    """Files with one ending that are not read as images."""

    ending: str
    names: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Return a phrase on the ending, to follow the word "files"."""
        return f"ending in {printable(self.ending)}" if self.ending else "without an ending"

    def __str__(self) -> str:
        """Return the number of files, their ending and the first three names."""
        count = len(self.names)
        first = ", ".join(map(printable, self.names[:3]))
        more = f" and {count - 3} more" if count > 3 else ""
        return f"{count} {'file' if count == 1 else 'files'} {self.kind}: {first}{more}"


def unread(names: Iterable[str]) -> list[Unread]:
    """Group names by ending, the most frequent first; sidecar files are left out."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if not is_sidecar(name):
            groups.setdefault(ending(name), []).append(name)
    unread = [Unread(end, tuple(sorted(members))) for end, members in groups.items()]
    return sorted(unread, key=lambda one: (-len(one.names), one.ending))
