"""Write files atomically. Every file that a command writes goes through here."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import UserError

LONGEST_NAME = 255  # bytes of a file name on common file systems


def write_atomically(
    path: Path, write: Callable[[Path], object], needed: int = 0, durable: bool = True
) -> None:
    """Write a temporary file in the same folder and rename it to `path`.

    `path` is always the complete old file or the complete new one, and a failure leaves no
    temporary file.

    Args:
        path: The file to write; its folder is created.
        write: Writes the temporary file whose path it gets.
        needed: Size in bytes; if the disk has less free space, nothing is written.
        durable: Whether to wait until the file is on the disk (fsync), so that it survives a power
            failure.

    Raises:
        UserError: The file could not be written.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if needed > free_space(path.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(temporary)
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        reason = _why(error, path, needed)
        raise UserError(f"{path} could not be written: {reason}", path=path) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write a file of these bytes. Raises UserError as `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_bytes(data), len(data), durable)


def write_json(path: Path, value: Any) -> None:
    """Write a readable JSON file. Raises UserError as `write_atomically`."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def free_space(folder: Path) -> int:
    """Free bytes on the disk of a folder, or of its nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _temporary(path: Path) -> Path:
    """A name in the same folder; with the process's number, since two may write the same file."""
    ending = f".{os.getpid()}.tmp"
    name = path.name + ending
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(path.name)).hexdigest() + ending
    return path.with_name(name)


def _why(error: OSError, path: Path, needed: int) -> str:
    """The reason of an error, with the free space if the disk is full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = free_space(path.parent)
        return f"the disk is full: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free"
    return error.strerror or str(error)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; where folders can't be opened (Windows), renames are."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
