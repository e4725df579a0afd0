"""Interlaced PNG of 16 bits, pass by pass: as a whole, libpng writes a warning for each."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from .layout import Refused

PASSES = (  # first row and column, step of rows and columns
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
    (1, 0, 2, 1),
)  # fmt: skip


def deinterlaced(
    packed: bytes, height: int, width: int, bands: int, colour: int
) -> NDArray[np.uint16]:
    """(height, width, bands) from the compressed rows of the seven passes."""
    import imagecodecs

    values = np.empty((height, width, bands), np.uint16)
    parts = [values[top::down, left::right] for top, left, down, right in PASSES]
    parts = [part for part in parts if part.size]
    sizes = [part.shape[0] * (1 + part.shape[1] * bands * 2) for part in parts]  # a filter a row
    unpacker = zlib.decompressobj()
    rows = unpacker.decompress(packed, sum(sizes) + 1)
    if len(rows) != sum(sizes) or not unpacker.eof:
        raise Refused("is damaged or cannot be read: its passes are not of its size")
    for part, size in zip(parts, sizes, strict=True):
        made = imagecodecs.png_decode(_png(rows[:size], part.shape[0], part.shape[1], colour))
        part[:] = made.reshape(part.shape)
        rows = rows[size:]
    return values


def _png(rows: bytes, height: int, width: int, colour: int) -> bytes:
    """One pass as an image of its own."""
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
