"""List the image files of a folder, a .zip or .tar archive, or .tar shards, by names alone.

No image, FIFO or device is opened; links cannot cause an endless walk.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...config.run_folder import FROM_PYTHON
from ...errors import UserError
from ...images.sources import FORMATS, Source, identity, is_hidden, is_image_name, printable, unread
from .roles import WORDS, role_of

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
ARCHIVES = (".zip", ".tar", *COMPRESSED)
KINDS_OF_DATA = "a folder, a .zip or .tar archive, or a manifest (.csv or .jsonl)"
IMAGE_FOLDER = "a folder with an image's name"
Contents = tuple[dict[str, Source], list[tuple[str, str]], list[str]]
"""Image files by name; skipped names with the reason; names of other files. In any order."""


@dataclass(frozen=True)
class FileTree:
    """The files under `root`, by name."""

    root: Path
    files: dict[str, Source]
    """Image files by their posix name below the root and `prefix`, sorted."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Names of files and folders that are not used, with the reason."""
    other: tuple[str, ...] = ()
    """Names of files without the ending of an image format, sorted."""
    prefix: str = ""
    """Folders that contain all images."""

    def label(self, folder: str = "") -> str:
        """Return the name of the dataset, or of a folder of it, for messages."""
        root = self.root.name or self.root.resolve().name
        return printable(str(PurePosixPath(root, self.prefix, folder)))


def read_tree(root: Path) -> FileTree:
    """List the files of a folder (of its .tar shards, if it has no images), a .zip or a .tar.

    Raises:
        UserError: `root` is none of these, or a damaged archive.
    """
    label, name = printable(root), root.name.lower()
    try:
        mode = root.stat().st_mode
    except FileNotFoundError:
        advice = "; name a folder, archive or manifest" if label == FROM_PYTHON else ""
        raise UserError(f"there is no data folder or file {label}{advice}", path=root) from None
    except (OSError, ValueError) as error:
        raise UserError(f"the data {label} cannot be read ({error})", path=root) from None
    if stat.S_ISDIR(mode):
        files, skipped, other = _walk(root)
    elif not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise UserError(f"{label} is {kind}; data.path must be {KINDS_OF_DATA}", path=root)
    elif name.endswith((".zip", ".tar")):
        files, skipped, other = _read_archives([("", root)])
    elif name.endswith(COMPRESSED):
        raise UserError(
            f"{label} is a compressed archive that cannot be read in place; unpack it, or convert "
            "it to .tar or .zip",
            path=root,
        )
    else:
        raise UserError(f"{label} is not {KINDS_OF_DATA}", path=root)
    reasons = sorted((printable(name), reason) for name, reason in skipped)
    return FileTree(root, dict(sorted(files.items())), tuple(reasons), tuple(sorted(other)))


def refuse_other_formats(tree: FileTree) -> None:
    """Raise UserError if there are no images, but files in formats that are not read."""
    groups = unread(tree.other)
    if groups and not tree.files:
        raise UserError(
            f"{printable(tree.root)} has no images that can be read, only "
            f"{'; '.join(map(str, groups))}; convert them to a format that is read: {FORMATS}",
            path=tree.root,
        )


def _walk(root: Path) -> Contents:
    files: dict[str, Source] = {}
    skipped: list[tuple[str, str]] = []
    other: list[str] = []
    archives: list[str] = []
    # A link to a folder above the data would make the whole disk a part of the dataset.
    seen = {_inode(folder): "a folder above the data" for folder in root.resolve().parents}
    folders = [""]
    links: list[str] = []  # visited last: a folder that is not a link is listed by its own name
    while folders or links:
        folder = (folders or links).pop()
        try:
            inode = _inode(root / folder)
            if inode in seen:
                skipped.append((folder, f"leads to {seen[inode]}, which is not read twice"))
                continue
            seen[inode] = printable(folder) or "the data's own folder"
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            skipped.append((folder, f"a folder that cannot be read ({error.strerror})"))
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if is_hidden(entry.name):
                continue
            kind = _kind(entry)
            if kind == "folder" and is_image_name(name):
                skipped.append((name, IMAGE_FOLDER))
            elif kind == "folder":
                (links if entry.is_symlink() else folders).append(name)
            elif kind != "file":
                skipped.append((name, kind))
            elif is_image_name(name):
                files[name] = Source(Path(entry.path))
            else:
                (archives if name.lower().endswith(ARCHIVES) else other).append(name)
    shards = [name for name in sorted(archives) if name.lower().endswith(".tar") and not files]
    if shards:  # images beside an archive are most likely the same ones, unpacked
        files, inside, others = _read_archives(
            [(_shard_folder(name), root / name) for name in shards]
        )
        skipped += inside
        other += others
    unused = [name for name in archives if name not in shards]
    skipped += [(name, "an archive in a folder, which is not read") for name in unused]
    return files, skipped, other


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _kind(entry: os.DirEntry[str]) -> str:
    """Return `file`, `folder`, or a phrase for something else. Opens nothing."""
    try:
        if entry.is_file(follow_symlinks=False):  # known from the listing, without a stat
            return "file"
        mode = entry.stat().st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads to itself"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return "a link to nothing"
        return f"not accessible ({error.strerror})"
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else KINDS.get(stat.S_IFMT(mode), "no file or folder")


def _shard_folder(name: str) -> str:
    """Return the folder of a shard's members: its own, and below it the split or domain that its
    name gives (`train-001.tar`, `val-cats-0.tar`, `trainA.tar`)."""
    folder, _, file = name.rpartition("/")
    word = re.sub(r"([-_. ]*\d+)*([-_. ]of[-_. ]\d+)?$", "", file.rpartition(".")[0])
    if not any(role_of(word)):
        match = re.match(rf"({WORDS})(?=[-_.])", word, re.IGNORECASE)
        word = match[1] if match else ""
    return "/".join(filter(None, (folder, word)))


def _read_archives(archives: list[tuple[str, Path]]) -> Contents:
    """List the members of archives, each in a folder.

    If several members have the same name, none is used: programs differ in which one they read.
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
