"""The image files of a data set by their names alone: in a folder, a .zip or .tar, or shards.

Nothing is decoded, written or opened but the directories of archives. What is no plain file is
told and left alone: a walk ends in any tree of names, and opens no FIFO or device.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...errors import UserError
from ...images.endings import FORMATS, is_hidden, is_image_name, unread
from ...images.sources import Source, printable
from .archives import KINDS, escape, members
from .roles import WORDS, role_of

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
ARCHIVES = (".zip", ".tar", *COMPRESSED)
LOOKS = "a folder with an image's name"
Odd = tuple[str, str]


@dataclass(frozen=True)
class Tree:
    """What `read_tree` finds under `root`."""

    root: Path
    files: dict[str, Source]
    """Each image file's posix name below the root, in order, and where it lies."""
    odd: tuple[Odd, ...]
    """What is left alone: its printable name, and why."""
    unread: tuple[str, ...] = ()
    """Names of the other files, in order: those whose ending is not that of an image."""


def read_tree(root: Path) -> Tree:
    """The image files in a folder (its .tar shards, where it holds no images), a .zip or a .tar.

    Raises UserError for what is none of these, and for a damaged archive.
    """
    shown, name = printable(str(root)), root.name.lower()
    try:
        mode = root.stat().st_mode
    except FileNotFoundError:
        raise UserError(f"there is no data folder {shown}, nor a file of that name") from None
    except (OSError, ValueError) as error:
        raise UserError(f"the data {shown} can't be read ({printable(str(error))})") from None
    if stat.S_ISDIR(mode):
        contents = _walk(root)
    elif not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise UserError(f"{shown} is {kind}; data is a folder, a .zip or .tar, or a manifest")
    elif name.endswith((".zip", ".tar")):
        contents = _unite([("", root)])
    elif name.endswith(COMPRESSED):
        raise UserError(
            f"{shown} is compressed as a whole and can't be read in place; unpack it, or make it "
            "a .tar or .zip"
        )
    else:
        raise UserError(
            f"{shown} is no data set: that is a folder, a .zip or .tar archive, or a manifest "
            "(.csv or .jsonl)"
        )
    files = {name: contents.files[name] for name in sorted(contents.files)}
    odd = sorted((printable(name), why) for name, why in contents.odd)
    return Tree(root, files, tuple(odd), tuple(sorted(contents.unread)))


def refuse_unread(tree: Tree) -> None:
    """Raise UserError if there are no images, but files in formats that are not read."""
    groups = unread(tree.unread)
    if groups and not tree.files:
        listed = "; ".join(map(str, groups))
        raise UserError(
            f"{printable(str(tree.root))} has no images that can be read, only {listed}; convert "
            f"them to a format that is read: {FORMATS}",
            path=tree.root,
        )


class _Contents(NamedTuple):
    """The image files, the odd and the unread files of a folder or of archives, in any order."""

    files: dict[str, Source]
    odd: list[Odd]
    unread: list[str]


def _walk(root: Path) -> _Contents:
    found = _Contents({}, [], [])
    files, odd, unread = found
    archives: list[str] = []
    # A link that leads above the data would make the whole disk a part of it.
    seen = {_inode(folder): "a folder above the data" for folder in root.resolve().parents}
    folders = [""]
    links: list[str] = []  # they come last: a folder is known by its own name, if it has one
    while folders or links:
        folder = (folders or links).pop()
        try:
            inode = _inode(root / folder)
            if inode in seen:
                odd.append((folder, f"leads to {seen[inode]}, which is not read twice"))
                continue
            seen[inode] = printable(folder) or "the data's own folder"
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            odd.append((folder, f"a folder that can't be read ({error.strerror})"))
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if is_hidden(entry.name):
                continue
            kind = _kind(entry)
            if kind == "folder" and is_image_name(name):
                odd.append((name, LOOKS))
            elif kind == "folder":
                (links if entry.is_symlink() else folders).append(name)
            elif kind != "file":
                odd.append((name, kind))
            elif is_image_name(name):
                files[name] = Source(Path(entry.path))
            elif name.lower().endswith(ARCHIVES):
                archives.append(name)
            else:
                unread.append(name)
    if not files:  # images beside an archive are most likely its own, unpacked
        tars = sorted(name for name in archives if name.lower().endswith(".tar"))
        archives = [name for name in archives if name not in tars]
        inside = _unite([(_shard_folder(name), root / name) for name in tars])
        files |= inside.files
        odd += inside.odd
        unread += inside.unread
    odd += [(name, "an archive in a folder, not looked into") for name in archives]
    return found


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _kind(entry: os.DirEntry[str]) -> str:
    """`file`, `folder`, or in words what it is instead. Follows links, and opens nothing."""
    try:
        if entry.is_file(follow_symlinks=False):  # known from the listing: no look at the disk
            return "file"
        mode = entry.stat().st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads round in a loop"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return "a link to nothing"
        return f"out of reach ({error.strerror})"
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else KINDS.get(stat.S_IFMT(mode), "no file or folder")


def _shard_folder(name: str) -> str:
    """Return the folder that a shard's members belong to: its own, and below it the split or
    domain that the shard's name gives (`train-001.tar`, `val-cats-0.tar`, `trainA.tar`)."""
    folder, _, file = name.rpartition("/")
    word = re.sub(r"([-_. ]*\d+)*([-_. ]of[-_. ]\d+)?$", "", file.rpartition(".")[0])
    if not any(role_of(word)):
        match = re.match(rf"({WORDS})(?=[-_.])", word, re.IGNORECASE)
        word = match[1] if match else ""
    return "/".join(filter(None, (folder, word)))


def _unite(archives: list[tuple[str, Path]]) -> _Contents:
    """Images by name out of archives, each under a folder. A name that stands twice means neither:
    which of them a program takes is an accident."""
    files: dict[str, Source] = {}
    times: Counter[str] = Counter()
    odd: dict[str, str] = {}
    unread: list[str] = []
    for folder, path in archives:
        start = f"{folder}/" if folder else ""
        for raw, fault, source in members(path):
            parts = [part for part in raw.split("/") if part not in ("", ".")]
            folders = len(parts) if raw.endswith("/") else len(parts) - 1
            images = [i + 1 for i, part in enumerate(parts) if is_image_name(part)]
            if any(map(is_hidden, parts)) and not escape(raw):
                continue
            if fault:
                odd[start + raw] = fault
            elif images and images[0] <= folders:
                odd[start + "/".join(parts[: images[0]])] = LOOKS
            elif images:
                name = start + "/".join(parts)
                times[name] += 1
                files[name] = source
            elif parts and folders < len(parts):
                unread.append(start + "/".join(parts))
    for name, count in times.items():
        if count > 1:
            del files[name]
            odd[name] = f"stands {count} times, of which none is used"
    return _Contents(files, list(odd.items()), unread)
