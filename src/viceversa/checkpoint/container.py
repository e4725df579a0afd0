"""Safetensors files with a header and a digest, written atomically and verified by SHA-256.

The format contains no code. Its metadata contain a JSON header, and the SHA-256 of header and
tensors, since neither the format nor a disk detects a flipped bit.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import UserError
from ..files import write_atomically
from .exported import refuse_exported
from .header import DIGEST, HEADER, LARGEST_HEADER, MAX_TENSORS, Damaged, read_metadata, unreadable

TYPES = {  # dtypes and their names in the format
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def save(path: Path, tensors: Mapping[str, Tensor], header: dict[str, Any]) -> None:
    """Write a file atomically: `path` is always the complete old or the complete new file.

    Raises:
        UserError: It cannot be written; if the disk is full, with the free space.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(header)
    table = _table(plain, {HEADER: text, DIGEST: digest(text, plain)})
    if len(table) > LARGEST_HEADER or len(plain) > MAX_TENSORS:
        raise UserError(
            f"{path} was not written: {len(plain)} tensors, or a header of {len(table)} bytes, are "
            "more than can be loaded",
            path=path,
        )
    needed = len(table) + sum(tensor.nbytes for tensor in plain.values())
    write_atomically(path, lambda temporary: _write(temporary, table, plain), needed)


def to_bytes(tensors: Mapping[str, Tensor], header: dict[str, Any]) -> bytes:
    """Return tensors and a header as bytes, for another process."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(plain, {HEADER: json.dumps(header)})


def from_bytes(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `to_bytes` was given."""
    length = struct.unpack("<Q", data[:8])[0]
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    return safetensors.torch.load(data), json.loads(metadata[HEADER])


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the header.

    Raises:
        Damaged: The file has another format, or its digest does not match.
        UserError: The system could not read the file, or memory is short.
    """
    refuse_exported(path)
    header, text, expected = read_metadata(path)
    try:
        with safe_open(path, "pt") as checked:  # checks the format
            tensors = _read(path, set(checked.keys()))
    except (MemoryError, RuntimeError):
        raise UserError(f"{path} is larger than the memory that is free", path=path) from None
    except OSError as error:
        raise unreadable(path, error) from None
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} is damaged: {error}", path=path) from None
    if digest(text, tensors) != expected:
        raise Damaged(f"{path} is damaged: its contents are not what was written", path=path)
    return tensors, header


def digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a header and of every tensor's name, dtype, shape and bytes."""
    total = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            total.update(_bytes(tensor))
    return total.hexdigest()


def _table(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Return the header of the format: metadata, and dtype, shape and offsets of each tensor."""
    table: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name in _ordered(tensors):
        tensor = tensors[name]
        start, end = end, end + tensor.nbytes
        dtype, shape = TYPES[tensor.dtype], list(tensor.shape)
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(table).encode()
    return text + b" " * (-len(text) % 8)


def _write(path: Path, table: bytes, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file in place, without a copy of the tensors.

    The library's `save` needs twice the memory of the tensors in addition (for 400 MB: 760 MB), at
    a time when `plan` predicts none. Its `save_file` writes a temporary file with a random name,
    which a killed process leaves behind and only its owner may read, and raises no OSError if the
    disk is full.
    """
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(table)) + table)
        for name in _ordered(tensors):
            if tensors[name].numel():
                file.write(_bytes(tensors[name]))


def _ordered(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names in the order of the file: wide dtypes first, so that all are aligned."""
    return sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))


def _bytes(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor that is not empty."""
    data: memoryview = tensor.reshape(-1).view(torch.uint8).numpy().data
    return data


def _read(path: Path, names: set[str]) -> dict[str, Tensor]:
    """Read the tensors into memory. In a map of the file, an I/O error would end the process."""
    dtypes = {name: dtype for dtype, name in TYPES.items()}
    with path.open("rb", buffering=0) as file:
        length = struct.unpack("<Q", file.read(8))[0]
        table = json.loads(file.read(length))
        tensors = {}
        for name in names:
            tensor = torch.empty(table[name]["shape"], dtype=dtypes[table[name]["dtype"]])
            start, end = table[name]["data_offsets"]
            if tensor.nbytes != end - start:
                raise ValueError(f"the size of {name} is not that of its shape")
            if tensor.numel():
                file.seek(8 + length + start)
                part = _bytes(tensor)
                while part:
                    if not (count := file.readinto(part)):
                        raise ValueError("it ends too early")
                    part = part[count:]
            tensors[name] = tensor
    return tensors
