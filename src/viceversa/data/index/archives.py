"""List the members of .zip and .tar archives, which are read in place. Nothing is written."""

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
RATIO = 200  # largest compression ratio of a member over 1 MB: images reach less, bombs more
KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFLNK: "a link",
}
Member = tuple[str, str, Source]
"""Name of a member, the reason why it cannot be used ("" if it can), where its bytes are."""
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, ValueError, ArithmeticError)


def members(path: Path) -> Iterator[Member]:
    """List the members of a .zip or .tar file; names of folders end with a slash.

    Raises:
        UserError: If the archive is damaged.
    """
    try:
        yield from _zip_members(path) if path.name.lower().endswith(".zip") else _tar_members(path)
    except (*DAMAGE, RuntimeError) as error:
        raise UserError(
            f"{printable(str(path))} is damaged or not an archive of its kind "
            f"({printable(str(error))}); create it again, as a .zip or an uncompressed .tar",
            path=path,
        ) from None


def _zip_members(path: Path) -> Iterator[Member]:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        listed = identity(os.fstat(file.fileno()))
        for info in archive.infolist():
            problem = outside(info.orig_filename) or _zip_problem(info)
            yield info.orig_filename, problem, Source(path, info.filename, archive=listed)


def _zip_problem(info: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"{KINDS.get(mode, 'not a file')} in an archive"
    if "\\" in info.orig_filename:
        return "a backslash in a name of a zip, where only slashes separate folders"
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
            if member.offset <= last:  # a negative size leads back to an earlier member
                raise tarfile.ReadError("its members overlap")
            last = member.offset
            raw = member.name + "/" * member.isdir()
            problem = outside(raw) or _tar_problem(member)
            yield raw, problem, Source(path, member.name, member.offset_data, member.size, listed)
        file.seek(tar.offset)
        if any(file.read(tarfile.BLOCKSIZE)):  # tarfile ends without an error at a broken header
            raise tarfile.ReadError(f"broken at byte {tar.offset}")


def _tar_problem(member: tarfile.TarInfo) -> str:
    if not (member.isfile() or member.isdir()):
        return "a link or device in an archive"
    if member.issparse():
        return "stored with holes, which cannot be read in place"
    return "more than 1 GiB" if member.size > LARGEST else ""


def outside(raw: str) -> str:
    """Return why a member's name could mean a path outside of its archive, or an empty text."""
    if raw.startswith("/") or re.match(r"[A-Za-z]:[/\\]", raw):
        return "an absolute name in an archive"
    if ".." in re.split(r"[/\\]", raw):
        return "a name that leads out of its archive"
    return "a NUL in its name" if "\0" in raw else ""
