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

from ...errors import UserError
from ...images import SUFFIXES
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
        files, odd = _walk(root)
    elif not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise UserError(f"{shown} is {kind}; data is a folder, a .zip or .tar, or a manifest")
    elif name.endswith((".zip", ".tar")):
        files, odd = _unite([("", root)])
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
    odd_names = sorted((printable(name), why) for name, why in odd)
    return Tree(root, {name: files[name] for name in sorted(files)}, tuple(odd_names))


def hidden(name: str) -> bool:
    """Whether a file or folder is the system's own: passed over without a word."""
    return name.startswith(".") or name in ("Thumbs.db", "__MACOSX")


def like_image(name: str) -> bool:
    """Whether a name has an image's ending."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _walk(root: Path) -> tuple[dict[str, Source], list[Odd]]:
    files: dict[str, Source] = {}
    odd: list[Odd] = []
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
            if hidden(entry.name):
                continue
            kind = _kind(entry)
            if kind == "folder" and like_image(name):
                odd.append((name, LOOKS))
            elif kind == "folder":
                (links if entry.is_symlink() else folders).append(name)
            elif kind != "file":
                odd.append((name, kind))
            elif like_image(name):
                files[name] = Source(Path(entry.path))
            elif name.lower().endswith(ARCHIVES):
                archives.append(name)
    if not files:  # images beside an archive are most likely its own, unpacked
        tars = sorted(name for name in archives if name.lower().endswith(".tar"))
        archives = [name for name in archives if name not in tars]
        files, inside = _unite([(_shard_folder(name), root / name) for name in tars])
        odd += inside
    return files, odd + [(name, "an archive in a folder, not looked into") for name in archives]


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


def _unite(archives: list[tuple[str, Path]]) -> tuple[dict[str, Source], list[Odd]]:
    """Images by name out of archives, each under a folder. A name that stands twice means neither:
    which of them a program takes is an accident."""
    files: dict[str, Source] = {}
    times: Counter[str] = Counter()
    odd: dict[str, str] = {}
    for folder, path in archives:
        start = f"{folder}/" if folder else ""
        for raw, fault, source in members(path):
            parts = [part for part in raw.split("/") if part not in ("", ".")]
            folders = len(parts) if raw.endswith("/") else len(parts) - 1
            images = [i + 1 for i, part in enumerate(parts) if like_image(part)]
            if any(map(hidden, parts)) and not escape(raw):
                continue
            if fault:
                odd[start + raw] = fault
            elif images and images[0] <= folders:
                odd[start + "/".join(parts[: images[0]])] = LOOKS
            elif images:
                name = start + "/".join(parts)
                times[name] += 1
                files[name] = source
    for name, count in times.items():
        if count > 1:
            del files[name]
            odd[name] = f"stands {count} times, of which none is used"
    return files, list(odd.items())
