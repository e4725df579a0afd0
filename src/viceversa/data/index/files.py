"""List the image files of a folder, a .zip or .tar archive, or .tar shards, by names alone.

No image, FIFO or device is opened; links cannot cause an endless walk.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...config.run_folder import FROM_PYTHON
from ...errors import UserError
from ...images.archives import (
    ARCHIVES,
    COMPRESSED,
    IMAGE_FOLDER,
    IN_PLACE,
    KINDS,
    Contents,
    read_archives,
)
from ...images.sources import FORMATS, Source, is_hidden, is_image_name, printable, unread
from .roles import WORDS, role_of

KINDS_OF_DATA = "a folder, a .zip or .tar archive, or a manifest (.csv or .jsonl)"


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
    elif name.endswith(IN_PLACE):
        files, skipped, other = read_archives([("", root)])
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
        files, inside, others = read_archives(
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
