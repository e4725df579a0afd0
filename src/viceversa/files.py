"""Write files atomically: the only module that writes the files of commands."""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import UserError

MAX_NAME = 255  # bytes of a file name on common file systems
ABOUT = "viceversa"  # keyword of the text that describes the contents of a PNG file


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
        why = write_error(error, path.parent, needed)
        raise UserError(f"{path} could not be written: {why}", path=path) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Yield a new folder next to `path`; it replaces `path` when the context ends.

    After an exception, or if the process is killed, `path` is unchanged. An existing folder is
    replaced by two renames, between which `path` does not exist for a moment.

    Raises:
        UserError: The folder could not be written.
    """
    temporary = _temporary(path)
    new, old = temporary / "new", temporary / "old"
    try:
        with writing_errors(path):
            new.mkdir(parents=True)
        yield new
        with writing_errors(path):
            if path.exists():
                path.rename(old)
            new.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Convert an OSError raised while writing `path` to a UserError."""
    try:
        yield
    except OSError as error:
        why = write_error(error, path.parent)
        raise UserError(f"{path} could not be written: {why}", path=path) from None


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write bytes to a file. Raises UserError as `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_bytes(data), len(data), durable)


def write_json(path: Path, value: Any) -> None:
    """Write an indented JSON file. Raises UserError as `write_atomically`."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def write_with_digest(path: Path, content: bytes) -> None:
    """Write a line with the SHA-256 of `content`, then `content`. Raises as `write_atomically`."""
    write_bytes(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read_with_digest(path: Path) -> bytes | None:
    """Read a file of `write_with_digest`; None if it is missing, unreadable or damaged."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest().encode() == digest else None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file. Raises UserError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", path=path) from None


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of the files in a folder.

    Raises UserError if they cannot be read.
    """
    if not path.is_dir():
        return sha256(path)
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            total.update(f"{sha256(file)} {file.relative_to(path).as_posix()}\n".encode())
    return total.hexdigest()


def format_bytes(size: int) -> str:
    """Return a number of bytes as text, with three digits: 950 kB, 8.21 MB, 120 GB."""
    number, units = size / 1e3, ["kB", "MB", "GB"]
    while number >= 999.5 and units[1:]:
        number, units = number / 1e3, units[1:]
    decimals = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{decimals}f} {units[0]}"


def user_cache() -> Path | None:
    """Return the cache folder of the user; None if there is no home folder."""
    import platformdirs  # imported here: most commands do not need it

    try:
        folder = platformdirs.user_cache_path("viceversa")
    except RuntimeError:  # HOME is not set, and the user number has no name
        return None
    return folder if folder.is_absolute() else None


def is_utf16(path: Path) -> bool:
    """Return whether a file begins with a byte order mark of UTF-16. Raises OSError."""
    with path.open("rb") as file:
        return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def free_space(folder: Path) -> int:
    """Return the free bytes on the disk of a folder, which need not exist."""
    return shutil.disk_usage(_existing(folder)).free


def _existing(folder: Path) -> Path:
    """Return a folder, or its nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def remove_temporary(folder: Path) -> None:
    """Remove the temporary files of killed processes below a folder."""
    for path in folder.rglob("*.tmp"):
        if re.search(r"\.\d+\.tmp$", path.name):
            _remove(path)


def remove_temporary_of(paths: Iterable[Path]) -> None:
    """Remove the temporary files that killed processes left for these files.

    Temporary files of running processes are kept. Temporary files of other files are also kept:
    they may belong to a process on another machine.
    """
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).update((path.name, _short_name(path)))
    for folder, known in names.items():
        with suppress(OSError):  # it does not exist yet
            for entry in os.scandir(folder):
                match = re.fullmatch(r"(.+)\.(\d{1,9})\.tmp", entry.name, re.DOTALL)
                if match and match[1] in known and not _is_running(int(match[2])):
                    _remove(Path(entry))


def _remove(path: Path) -> None:
    """Remove a file or a folder, if that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()


def _is_running(process: int) -> bool:
    """Return whether another process with this id runs on this machine."""
    if os.name == "nt":
        return False  # there, files that are open cannot be removed
    try:
        os.kill(process, 0)
    except OSError as error:
        return error.errno == errno.EPERM  # it is another user's
    return process != os.getpid()


def _temporary(path: Path) -> Path:
    """Return a path in the same folder, with the process ID: two processes may write one file."""
    ending = f".{os.getpid()}.tmp"
    name = path.name + ending
    if len(os.fsencode(name)) > MAX_NAME:
        name = _short_name(path) + ending
    return path.with_name(name)


def _short_name(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()


def write_error(error: OSError, folder: Path, needed: int = 0) -> str:
    """Return why a folder cannot be written to."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error.strerror or str(error)
    if free_inodes(folder) == 0:
        return "the disk has no inodes left for new files; remove files that are not needed"
    wanted = f"{format_bytes(needed)} are needed, " if needed else ""
    return f"the disk is full: {wanted}{format_bytes(free_space(folder))} are free"


def free_inodes(folder: Path) -> int | None:
    """Return the number of free inodes on the disk of a folder; None if there is no limit."""
    if not hasattr(os, "statvfs"):
        return None
    state = os.statvfs(_existing(folder))
    return state.f_favail if state.f_files else None


def _sync_folder(folder: Path) -> None:
    """Make a rename durable. On Windows, folders cannot be opened, and renames are durable."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def finite(value: Any) -> Any:
    """Return a value for JSON, in which non-finite numbers are replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value
