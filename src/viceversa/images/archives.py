"""Read .zip and .tar archives in place: list their images by name only.

No member is decoded. Links, decompression bombs, and names that lead out of the archive are
refused.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from .sources import Source, identity, is_hidden, is_image_name, printable

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
IN_PLACE = (".zip", ".tar")
ARCHIVES = (*IN_PLACE, *COMPRESSED)
IMAGE_FOLDER = "a folder with an image's name"
Contents = tuple[dict[str, Source], list[tuple[str, str]], list[str]]
"""Image files by name, skipped names with the reason, and names of other files, in any order."""
MAX_MEMBER = 2**30  # bytes of a member, as declared by its archive
MAX_RATIO = 200  # compression ratio of a member over 1 MB: images have less, zip bombs more
KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFLNK: "a link",
}
Member = tuple[str, str, Source]
"""Name of a member, the reason why it cannot be used (or ""), and its source."""
DAMAGED = zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, ValueError, ArithmeticError


def read_archives(archives: list[tuple[str, Path]]) -> Contents:
    """List the members of archives, each in a folder.

    If several members have the same name, none of them is used, because programs differ in which
    one they read.
    """
    files: dict[str, Source] = {}
    counts: Counter[str] = Counter()
    skipped: dict[str, str] = {}
    other: list[str] = []
    for folder, path in archives:
        start = f"{folder}/" if folder else ""
        for raw, problem, source in members(path):
            parts = [part for part in raw.split("/") if part not in ("", ".")]
            folders = len(parts) if raw.endswith("/") else len(parts) - 1
            images = [i + 1 for i, part in enumerate(parts) if is_image_name(part)]
            name = start + "/".join(parts)
            if any(map(is_hidden, parts)) and not outside(raw):
                continue
            if problem:
                skipped[start + raw] = problem
            elif images and images[0] <= folders:
                skipped[start + "/".join(parts[: images[0]])] = IMAGE_FOLDER
            elif images:
                counts[name] += 1
                files[name] = source
            elif parts and folders < len(parts):
                other.append(name)
    for name, count in counts.items():
        if count > 1:
            del files[name]
            skipped[name] = f"appears {count} times in the archive; none of them is used"
    return files, list(skipped.items()), other


def members(path: Path) -> Iterator[Member]:
    """List the members of a .zip or .tar file; names of folders end with a slash.

    Raises:
        UserError: The archive is damaged.
    """
    try:
        yield from _zip_members(path) if path.name.lower().endswith(".zip") else _tar_members(path)
    except (*DAMAGED, RuntimeError) as error:
        raise UserError(
            f"{printable(path)} is not a valid archive ({printable(error)}); create it again, as a "
            ".zip or an uncompressed .tar",
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
    if info.file_size > MAX_MEMBER:
        return "more than 1 GiB"
    if info.file_size > max(10**6, MAX_RATIO * info.compress_size):
        return f"grows more than {MAX_RATIO} times when decompressed"
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
    return "more than 1 GiB" if member.size > MAX_MEMBER else ""


def outside(raw: str) -> str:
    """Return why a member's name is unsafe as a path, or an empty text."""
    if raw.startswith("/") or re.match(r"[A-Za-z]:[/\\]", raw):
        return "an absolute name in an archive"
    if ".." in re.split(r"[/\\]", raw):
        return "a name that leads out of its archive"
    return "a NUL in its name" if "\0" in raw else ""
