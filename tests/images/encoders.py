"""Encoders written from the format specifications, to test decoders with independent files."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
ADAM7 = [
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
]


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(row: Array, bits: int) -> bytes:
    """Return a row of samples as bytes, most significant bit first."""
    if bits == 16:
        return row.astype(">u2").tobytes()
    if bits == 8:
        return row.astype(np.uint8).tobytes()
    planes = (row.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(planes.reshape(-1).astype(np.uint8)).tobytes()


def png(values: Array, bits: int, colour: int, *extra: bytes, interlaced: bool = False) -> bytes:
    """Return (height, width[, samples]) as a PNG; `extra` are more chunks."""
    height, width = values.shape[:2]
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    rows = b""
    for top, left, down, right in passes:
        part = values[top::down, left::right]
        if part.size:
            rows += b"".join(b"\0" + packed(row.reshape(-1), bits) for row in part)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def netpbm(values: Array, kind: int, white: int = 255, comment: bytes = b"") -> bytes:
    """Return (height, width[, 3]) as PBM, PGM or PPM (P1 to P6); 1 is black in bitmaps."""
    height, width = values.shape[:2]
    head = b"P%d\n%s%d %d\n" % (kind, comment, width, height)
    head += b"" if kind in (1, 4) else b"%d\n" % white
    if kind == 4:
        return head + np.packbits(values.astype(np.uint8), axis=1).tobytes()
    if kind < 4:
        rows = values.reshape(height, -1)
        return head + b"\n".join(b" ".join(b"%d" % value for value in row) for row in rows)
    return head + values.astype(">u2" if white > 255 else np.uint8).tobytes()


def jp2(values: Array, bits: int = 0, form: str = "jp2", **options: Any) -> bytes:
    """Return (height, width[, channels]) as lossless JPEG 2000, in a JP2 file or codestream."""
    import imagecodecs

    data: bytes = imagecodecs.jpeg2k_encode(
        values,
        level=0,
        reversible=True,
        bitspersample=bits or 8 * values.dtype.itemsize,
        codecformat=form,
        **options,
    )
    return data


def boxes(data: bytes) -> dict[bytes, tuple[int, int]]:
    """Return start and end of each box of a JP2 file, including those inside of jp2h."""
    positions, at = {}, 0
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        positions[kind] = at, at + length
        at += 8 if kind == b"jp2h" else length
    return positions


def with_box(data: bytes, kind: bytes, body: bytes) -> bytes:
    """Return a JP2 file with an additional box in its header."""
    start, end = boxes(data)[b"jp2h"]
    box = struct.pack(">I4s", 8 + len(body), kind) + body
    length = struct.pack(">I", end - start + len(box))
    return data[:start] + length + data[start + 4 : end] + box + data[end:]


def tiff(
    values: Array, photometric: int, order: str = "<", big: bool = False, **tags: Any
) -> bytes:
    """Return (height, width[, channels]) as a TIFF; `tags`: t<number>=(type, value, ...)."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    head = 16 if big else 8
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    entries: dict[int, tuple[Any, ...]] = {
        256: ("I", width),
        257: ("I", height),
        258: ("H", *[8 * values.dtype.itemsize] * channels),
        259: ("H", 1),
        262: ("H", photometric),
        273: ("I", head),
        277: ("H", channels),
        278: ("I", height),
        279: ("I", len(data)),
        339: ("H", *[kind] * channels),
        **{int(name[1:]): value for name, value in tags.items()},
    }
    return ifds([entries], data, order, big)


def ifds(pages: list[dict[int, tuple[Any, ...]]], data: bytes, order: str, big: bool) -> bytes:
    """Return a TIFF of `data` and a chain of directories."""
    word, count, small = ("Q", "Q", 8) if big else ("I", "H", 4)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HH", 8, 0) if big else b""
    at = len(head) + small + len(data)
    parts = [head, struct.pack(order + word, at), data]
    for number, entries in enumerate(pages):
        body, far = b"", b""
        size = struct.calcsize(order + count) + len(entries) * (20 if big else 12) + small
        for tag, (letter, *numbers) in sorted(entries.items()):
            text = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
            if len(text) > small:
                far, text = far + text, struct.pack(order + word, at + size + len(far))
            code = {"H": 3, "I": 4, "B": 1}[letter]
            body += struct.pack(f"{order}HH{word}", tag, code, len(numbers))
            body += text.ljust(small, b"\0")
        at = at + size + len(far) if number + 1 < len(pages) else 0
        parts += [
            struct.pack(order + count, len(entries)),
            body,
            struct.pack(order + word, at),
            far,
        ]
    return b"".join(parts)


def bmp(values: Array, bits: int, colours: Array | None = None) -> bytes:
    """Return (height, width) indices or (height, width, 3) RGB as a BMP."""
    height, width = values.shape[:2]
    rows = values[::-1] if bits < 24 else values[::-1, :, ::-1]
    data = b""
    for row in rows:
        text = packed(row.reshape(-1), min(bits, 8))
        data += text + b"\0" * (-len(text) % 4)
    table = b"" if colours is None else b"".join(bytes([*c[::-1], 0]) for c in colours.tolist())
    info = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(data), 0, 0, len(table) // 4, 0
    )
    start = 14 + 40 + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + table + data


def npy(values: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a file written by Pillow, for formats without an encoder here."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
