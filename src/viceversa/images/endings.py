"""File names: which ones are read as images, and how to report those that are not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from .sources import printable

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
    """Return whether a file or folder belongs to the system: it is neither read nor reported."""
    return name.startswith(".") or name in ("Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir")


def is_sidecar(name: str) -> bool:
    """Return whether a file is clearly not an image: text, a table, a script, a checksum."""
    stem, suffix = os.path.splitext(name.rpartition("/")[2].lower())
    return suffix in SIDECAR_SUFFIXES or (not suffix and stem in SIDECAR_NAMES)


def ending(name: str) -> str:
    """Return the whole ending of a name in lower case, such as ".nii.gz"; "" where it has none."""
    stem, last = os.path.splitext(name.rpartition("/")[2].lower())
    if not re.fullmatch(r"\.\w*[^\W\d]\w*", last):  # "IM.0001" has none
        return ""
    inner = os.path.splitext(stem)[1]
    double = last in COMPRESSED or inner == ".ome"
    return inner + last if double and re.fullmatch(r"\.[a-z]\w{0,7}", inner) else last


class Unread(NamedTuple):
    """The files of one ending that are not read as images."""

    ending: str
    names: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Return what these files have in common, to follow the word "files"."""
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
