"""The directories of .zip and .tar archives: names, and where the bytes lie. Writes nothing."""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ...errors import UserError
from ...images.sources import Source, identity, printable

LARGEST = 2**30  # bytes of a member, as its archive declares them
RATIO = 200  # to what a member over 1 MB may grow: no image's bytes shrink that far, a bomb's do
KINDS = {
    stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device", stat.S_IFLNK: "a link",
}  # fmt: skip
Member = tuple[str, str, Source]  # its name, why it can't be used (or nothing), where it lies


def members(path: Path) -> Iterator[Member]:
    """What a .zip or .tar lists, folders with a slash at the end.

    Raises UserError for a damaged archive.
    """
    try:
        yield from _zip_members(path) if path.name.lower().endswith(".zip") else _tar_members(path)
    except (
        zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, ValueError, OverflowError,
        NotImplementedError, RecursionError,
    ) as error:  # fmt: skip
        raise UserError(
            f"{printable(str(path))} is damaged or no archive of its kind "
            f"({printable(str(error))}); make it anew, as a .zip or an uncompressed .tar"
        ) from None


def _zip_members(path: Path) -> Iterator[Member]:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        listed = identity(os.fstat(file.fileno()))
        for info in archive.infolist():
            fault = escape(info.orig_filename) or _zip_fault(info)
            yield info.orig_filename, fault, Source(path, info.filename, archive=listed)


def _zip_fault(info: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"{KINDS.get(mode, 'no file')} in an archive"
    if "\\" in info.orig_filename:
        return "a backslash in a zip's name, where only slashes part folders"
    if info.flag_bits & 1:
        return "encrypted"
    if info.file_size > LARGEST:
        return "more than 1 GiB"
    if info.file_size > max(10**6, RATIO * info.compress_size):
        return f"grows more than {RATIO} times when it is read"
    return ""


def _tar_members(path: Path) -> Iterator[Member]:
    last = -1
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:", encoding="utf-8") as tar:
        listed = identity(os.fstat(file.fileno()))
        for member in tar:
            if member.offset <= last:  # a negative size leads back, round and round
                raise tarfile.ReadError("its members overlap")
            last = member.offset
            raw = member.name + "/" * member.isdir()
            fault = escape(raw) or _tar_fault(member)
            yield raw, fault, Source(path, member.name, member.offset_data, member.size, listed)
        file.seek(tar.offset)
        if any(file.read(tarfile.BLOCKSIZE)):  # tarfile ends in silence at a broken header
            raise tarfile.ReadError(f"broken at byte {tar.offset}")


def _tar_fault(member: tarfile.TarInfo) -> str:
    if not (member.isfile() or member.isdir()):
        return "a link or device in an archive"
    if member.issparse():
        return "stored with holes, which can't be read in place"
    return "more than 1 GiB" if member.size > LARGEST else ""


def escape(raw: str) -> str:
    """Why a member's name could mean a place outside its archive, or nothing."""
    if raw.startswith("/") or re.match(r"[A-Za-z]:[/\\]", raw):
        return "an absolute name in an archive"
    if ".." in re.split(r"[/\\]", raw):
        return "a name that leads out of its archive"
    return "a NUL in its name" if "\0" in raw else ""
