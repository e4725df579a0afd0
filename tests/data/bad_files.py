"""Forty kinds of files that cannot be used in a dataset of 8-bit RGB images."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]


def noise(height: int = 48, width: int = 48, channels: int = 3) -> Array:
    return np.random.default_rng(7).integers(0, 256, (height, width, channels), dtype=np.uint8)


def saved(file_format: str, *more_frames: Array, **options: Any) -> bytes:
    """Return a file of noise in a format of Pillow."""
    out = io.BytesIO()
    if more_frames:
        options |= {"save_all": True, "append_images": [Image.fromarray(f) for f in more_frames]}
    Image.fromarray(noise()).save(out, file_format, **options)
    return out.getvalue()


def tif(values: Array, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, values, **options)
    return out.getvalue()


def npy(values: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, values, allow_pickle=True)
    return out.getvalue()


def png(height: int, width: int, bits: int, data: bytes) -> bytes:
    """Return an RGB PNG with any header."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    head = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def truncated(data: bytes, fraction: float) -> bytes:
    return data[: int(len(data) * fraction)]


def corrupted(data: bytes) -> bytes:
    """Invert 64 bytes in the middle."""
    middle = len(data) // 2
    inverted = bytes(255 - byte for byte in data[middle : middle + 64])
    return data[:middle] + inverted + data[middle + 64 :]


def header_of(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    """Return a .npy file whose header declares more data than the file contains."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(16)


FLOAT = noise().astype(np.float32) / 255
WITH_NAN = np.where(noise() > 250, np.nan, FLOAT).astype(np.float32)
LARGE_INTEGERS = noise().astype(np.int64) + 2**40 + 1
ANIMATED_GIF, INVERTED = saved("GIF", 255 - noise()), 255 - noise()

# Kind of file -> (extension, function that returns its bytes).
INVALID: dict[str, tuple[str, Callable[[], bytes]]] = {
    "JPEG truncated to a tenth": ("jpg", lambda: truncated(saved("JPEG"), 0.1)),
    "JPEG truncated in the middle": ("jpg", lambda: truncated(saved("JPEG"), 0.5)),
    "JPEG truncated near its end": ("jpg", lambda: truncated(saved("JPEG"), 0.95)),
    "JPEG of 3 bytes": ("jpg", lambda: saved("JPEG")[:3]),
    "PNG truncated to a tenth": ("png", lambda: truncated(saved("PNG"), 0.1)),
    "PNG truncated in the middle": ("png", lambda: truncated(saved("PNG"), 0.5)),
    "PNG without its end": ("png", lambda: saved("PNG")[:-12]),
    "PNG with corrupted bytes": ("png", lambda: corrupted(saved("PNG"))),
    "PNG of only a signature": ("png", lambda: saved("PNG")[:8]),
    "WebP truncated in the middle": ("webp", lambda: truncated(saved("WEBP"), 0.5)),
    "BMP truncated in its header": ("bmp", lambda: saved("BMP")[:20]),
    "BMP truncated near its end": ("bmp", lambda: truncated(saved("BMP"), 0.95)),
    "GIF truncated in the middle": ("gif", lambda: truncated(saved("GIF"), 0.5)),
    "TIFF truncated in the middle": ("tif", lambda: truncated(saved("TIFF"), 0.5)),
    "TIFF of only a header": ("tif", lambda: saved("TIFF")[:8]),
    "NPY truncated in its header": ("npy", lambda: npy(noise())[:40]),
    "NPY truncated in the middle": ("npy", lambda: truncated(npy(noise()), 0.5)),
    "empty file named PNG": ("png", lambda: b""),
    "empty file named TIFF": ("tif", lambda: b""),
    "text named JPEG": ("jpg", lambda: b"not an image\n" * 40),
    "web page named PNG": ("png", lambda: b"<!DOCTYPE html><html><body>404</body></html>"),
    "drawing (SVG) named PNG": ("png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "PDF named TIFF": ("tif", lambda: b"%PDF-1.7\n1 0 obj << >> endobj\n"),
    "archive named PNG": ("png", lambda: b"PK\x03\x04" + bytes(60)),
    "random bytes named WebP": ("webp", lambda: noise().tobytes()),
    "pickle named NPY": ("npy", lambda: pickle.dumps([1, 2])),
    "NPY of objects": ("npy", lambda: npy(np.array([[{}, 1]], dtype=object))),
    "NPY of one dimension": ("npy", lambda: npy(np.arange(9))),
    "NPY of complex numbers": ("npy", lambda: npy(noise().astype(np.complex64))),
    "NPY of integers beyond float32": ("npy", lambda: npy(LARGE_INTEGERS)),
    "NPY of infinite values": ("npy", lambda: npy(np.where(FLOAT > 0.9, np.inf, FLOAT))),
    "TIFF with NaN": ("tif", lambda: tif(WITH_NAN, photometric="rgb")),
    "TIFF of floats": ("tif", lambda: tif(FLOAT, photometric="rgb")),
    "TIFF of 6 channels": (
        "tif",
        lambda: tif(noise(channels=6), photometric="minisblack", planarconfig="contig"),
    ),
    "TIFF of 2 pages": ("tif", lambda: saved("TIFF", INVERTED)),
    "PNG of 16 bits": ("png", lambda: png(48, 48, 16, (b"\0" + bytes(range(96)) * 3) * 48)),
    "animated GIF": ("gif", lambda: ANIMATED_GIF),
    "animated WebP": ("webp", lambda: saved("WEBP", INVERTED)),
    "PNG that would fill the memory": ("png", lambda: png(60000, 60000, 8, bytes(99))),
    "NPY that would fill the memory": ("npy", lambda: header_of((90000, 90000, 3))),
}
assert len(INVALID) == 40


def bad_files(folder: Path, stem: str = "bad") -> list[tuple[str, str]]:
    """Write a file of each kind into a folder; return names and kinds."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number, (kind, (extension, content)) in enumerate(INVALID.items()):
        name = f"{stem}{number:02d}.{extension}"
        (folder / name).write_bytes(content())
        names.append((name, kind))
    return names


def special_files(folder: Path) -> list[str]:
    """Create folders, links, a FIFO and a device with names of images; return the names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "odd-folder.png").mkdir()
    (folder / "odd-nothing.png").symlink_to(folder / "not there")
    (folder / "odd-loop.png").symlink_to(folder / "odd-loop.png")
    os.mkfifo(folder / "odd-fifo.png")
    (folder / "odd-device.png").symlink_to("/dev/zero")
    return [f"odd-{kind}.png" for kind in ("folder", "nothing", "loop", "fifo", "device")]
