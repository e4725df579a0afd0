"""A file of tensors with a header and a digest: whole and as it was written, or refused.

The format is safetensors: no code can be in it. Its metadata hold our header, as JSON, and the
SHA-256 of header and tensors, since neither the format nor a disk notices a flipped bit.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError

HEADER, DIGEST = "viceversa", "sha256"  # where a safetensors file keeps ours
LARGEST_HEADER = 4 * 2**20
DEEPEST = 64  # of lists and tables within each other


def save(path: Path, tensors: Mapping[str, Tensor], header: dict[str, Any]) -> None:
    """Write a file so that `path` is always the whole old one or the whole new one.

    Raises UserError where it can't be written, with what is free where the disk is full.
    """
    plain: dict[str, Tensor] = {}
    memory: set[int] = set()
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        # The format takes no memory twice: what two names share is written for each.
        plain[name] = whole.clone() if whole.data_ptr() in memory else whole
        memory.add(whole.data_ptr())
    text = json.dumps(header)
    metadata = {HEADER: text, DIGEST: digest(text, plain)}
    needed = sum(tensor.nbytes for tensor in plain.values())
    write_aside(path, lambda aside: save_file(plain, aside, metadata), needed)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header. Raises UserError where anything is not as it was written."""
    header, text, expected = _looked_into(path)
    try:
        # Copies, since the file could change beneath tensors that only map it.
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if digest(text, tensors) != expected:
        raise UserError(f"{path} is damaged: its contents are not what was written")
    return tensors, header


def read_header(path: Path) -> dict[str, Any]:
    """The header alone. Raises UserError for a file that is none of ours."""
    return _looked_into(path)[0]


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """What a file says of its tensors, before any of them is read."""
    table = json.loads(_header_text(path))
    return {name: tuple(one["shape"]) for name, one in table.items() if name != "__metadata__"}


def digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a header and of every tensor's name, type, shape and bytes."""
    total = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def write_aside(path: Path, write: Callable[[Path], object], needed: int = 0) -> None:
    """Write a file next to its place, make it durable, and only then put it there.

    `needed`: bytes; where the disk has fewer, nothing is begun. Raises UserError.
    """
    aside = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = free_space(path.parent)
        if needed > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
        _sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} could not be written: {_why(error, path, needed)}") from None
    finally:
        _remove(aside)


def free_space(folder: Path) -> int:
    """Bytes that are free on a folder's disk; of one that is not there yet, on its parent's."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _why(error: Exception, path: Path, needed: int) -> str:
    """What went wrong, with what is free where a disk is full."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "No space left" in str(error):
        free = free_space(path.parent)
        return f"the disk is full: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _remove(path: Path) -> None:
    with suppress(OSError):  # what is left over is cleaned when the run starts again
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; where folders can't be opened (Windows), renames are."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _header_text(path: Path) -> bytes:
    """The safetensors header's bytes, if they can be one."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, path.stat().st_size):
            return b""
        return file.read(length)


def _looked_into(path: Path) -> tuple[dict[str, Any], str, str]:
    """(header, its text, the digest) of a file of ours."""
    if not path.is_file():
        raise UserError(f"there is no model {path}")
    try:
        table = json.loads(_header_text(path))
        metadata = table["__metadata__"]
        text, expected = metadata[HEADER], metadata[DIGEST]
        header = json.loads(text)
        if not isinstance(header, dict) or not isinstance(expected, str) or _deep(header):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(
            f"{path} is not a model of viceversa (a .safetensors file that train made)"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return header, text, expected


def _deep(value: Any, level: int = 0) -> bool:
    """Whether tables and lists lie deeper within each other than any of ours."""
    if level > DEEPEST:
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_deep(one, level + 1) for one in inner)
