"""List the image files of a folder, a .zip or .tar archive, or .tar shards, by names alone.

No image is opened. The walk ends in any tree of names and opens no FIFO or device.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...errors import UserError
from ...images.endings import FORMATS, is_hidden, is_image_name, unread
from ...images.sources import Source, printable
from .archives import KINDS, members, outside
from .roles import WORDS, role_of

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
ARCHIVES = (".zip", ".tar", *COMPRESSED)
IMAGE_FOLDER = "a folder with an image's name"
Contents = tuple[dict[str, Source], list[tuple[str, str]], list[str]]
"""Image files by name; what is skipped, and why; names of other files. In any order."""


@dataclass(frozen=True)
class FileTree:
    """The files under `root`, by name."""

    root: Path
    files: dict[str, Source]
    """Image files by their posix name below the root and `prefix`, sorted."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Printable names of what is not used, each with the reason."""
    other: tuple[str, ...] = ()
    """Names of files that do not end like an image, sorted."""
    prefix: str = ""
    """Folders that contain all images."""

    def label(self, folder: str = "") -> str:
        """Return the name of the dataset, or of a folder of it, for messages."""
        root = self.root.name or self.root.resolve().name
        return printable(str(PurePosixPath(root, self.prefix, folder)))


def read_tree(root: Path) -> FileTree:
    """List the files of a folder (of its .tar shards, if it has no images), a .zip or a .tar.

    Raises:
        UserError: If `root` is none of these, or a damaged archive.
    """
    label, name = printable(str(root)), root.name.lower()
    try:
        mode = root.stat().st_mode
    except FileNotFoundError:
        raise UserError(f"there is no data folder or file {label}", path=root) from None
    except (OSError, ValueError) as error:
        raise UserError(f"the data {label} cannot be read ({printable(str(error))})") from None
    if stat.S_ISDIR(mode):
        files, skipped, other = _walk(root)
    elif not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise UserError(f"{label} is {kind}; data is a folder, a .zip or .tar, or a manifest")
    elif name.endswith((".zip", ".tar")):
        files, skipped, other = _read_archives([("", root)])
    elif name.endswith(COMPRESSED):
        raise UserError(
            f"{label} is compressed as a whole and cannot be read in place; unpack it, or make it "
            "a .tar or .zip",
            path=root,
        )
    else:
        raise UserError(
            f"{label} is not a dataset: a folder, a .zip or .tar archive, or a manifest (.csv or "
            ".jsonl)",
            path=root,
        )
    reasons = sorted((printable(name), reason) for name, reason in skipped)
    return FileTree(root, dict(sorted(files.items())), tuple(reasons), tuple(sorted(other)))


def refuse_other_formats(tree: FileTree) -> None:
    """Raise UserError if there are no images, but files in formats that are not read."""
    groups = unread(tree.other)
    if groups and not tree.files:
        raise UserError(
            f"{printable(str(tree.root))} has no images that can be read, only "
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
    links: list[str] = []  # they come last: a folder that has a name of its own is listed by it
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
    """List the members of archives, each under a folder. Of members with one name none is used:
    which one a program reads is an accident."""
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
