"""Forty kinds of file that no training can use, for data sets of 8-bit RGB images."""

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


def noise(height: int = 48, width: int = 48, bands: int = 3) -> Array:
    return np.random.default_rng(7).integers(0, 256, (height, width, bands), dtype=np.uint8)


def saved(form: str, *others: Array, **options: Any) -> bytes:
    """The same noise in a format, `others` being its further frames."""
    out = io.BytesIO()
    more = [Image.fromarray(one) for one in others]
    if more:
        options |= {"save_all": True, "append_images": more}
    Image.fromarray(noise()).save(out, form, **options)
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
    """A PNG of RGB with a header that says what one likes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    head = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def spoilt(data: bytes) -> bytes:
    """With some bytes in the middle turned round."""
    middle = len(data) // 2
    return (
        data[:middle]
        + bytes(255 - byte for byte in data[middle : middle + 64])
        + data[middle + 64 :]
    )


def header_of(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    """A .npy that says it is large, and holds next to nothing."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(16)


FLOAT = noise().astype(np.float32) / 255
HOLED = np.where(noise() > 250, np.nan, FLOAT).astype(np.float32)
WIDE = noise().astype(np.int64) + 2**40 + 1
GIF_FRAMES, OTHER = saved("GIF", 255 - noise()), 255 - noise()

# kind -> (the name's ending, its bytes)
PLANTED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "JPEG cut at a tenth": ("jpg", lambda: cut(saved("JPEG"), 0.1)),
    "JPEG cut in the middle": ("jpg", lambda: cut(saved("JPEG"), 0.5)),
    "JPEG cut near its end": ("jpg", lambda: cut(saved("JPEG"), 0.95)),
    "JPEG of 3 bytes": ("jpg", lambda: saved("JPEG")[:3]),
    "PNG cut at a tenth": ("png", lambda: cut(saved("PNG"), 0.1)),
    "PNG cut in the middle": ("png", lambda: cut(saved("PNG"), 0.5)),
    "PNG without its end": ("png", lambda: saved("PNG")[:-12]),
    "PNG with other bytes within": ("png", lambda: spoilt(saved("PNG"))),
    "PNG of a signature alone": ("png", lambda: saved("PNG")[:8]),
    "WebP cut in the middle": ("webp", lambda: cut(saved("WEBP"), 0.5)),
    "BMP cut in its header": ("bmp", lambda: saved("BMP")[:20]),
    "BMP cut near its end": ("bmp", lambda: cut(saved("BMP"), 0.95)),
    "GIF cut in the middle": ("gif", lambda: cut(saved("GIF"), 0.5)),
    "TIFF cut in the middle": ("tif", lambda: cut(saved("TIFF"), 0.5)),
    "TIFF of a header alone": ("tif", lambda: saved("TIFF")[:8]),
    "NPY cut in its header": ("npy", lambda: npy(noise())[:40]),
    "NPY cut in the middle": ("npy", lambda: cut(npy(noise()), 0.5)),
    "nothing, named PNG": ("png", lambda: b""),
    "nothing, named TIFF": ("tif", lambda: b""),
    "text named JPEG": ("jpg", lambda: b"these are no pixels\n" * 40),
    "a web page named PNG": ("png", lambda: b"<!DOCTYPE html><html><body>404</body></html>"),
    "drawing (SVG) named PNG": ("png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "PDF named TIFF": ("tif", lambda: b"%PDF-1.7\n1 0 obj << >> endobj\n"),
    "archive named PNG": ("png", lambda: b"PK\x03\x04" + bytes(60)),
    "chance bytes named WebP": ("webp", lambda: noise().tobytes()),
    "pickle named NPY": ("npy", lambda: pickle.dumps([1, 2])),
    "NPY of objects": ("npy", lambda: npy(np.array([[{}, 1]], dtype=object))),
    "NPY of one dimension": ("npy", lambda: npy(np.arange(9))),
    "NPY of complex numbers": ("npy", lambda: npy(noise().astype(np.complex64))),
    "NPY of integers beyond float32": ("npy", lambda: npy(WIDE)),
    "NPY of infinite values": ("npy", lambda: npy(np.where(FLOAT > 0.9, np.inf, FLOAT))),
    "TIFF with NaN": ("tif", lambda: tif(HOLED, photometric="rgb")),
    "TIFF of floats": ("tif", lambda: tif(FLOAT, photometric="rgb")),
    "TIFF of 6 bands": (
        "tif",
        lambda: tif(noise(bands=6), photometric="minisblack", planarconfig="contig"),
    ),
    "TIFF of 2 pages": ("tif", lambda: saved("TIFF", OTHER)),
    "PNG of 16 bits": ("png", lambda: png(48, 48, 16, (b"\0" + bytes(range(96)) * 3) * 48)),
    "animated GIF": ("gif", lambda: GIF_FRAMES),
    "animated WebP": ("webp", lambda: saved("WEBP", OTHER)),
    "PNG that would fill the memory": ("png", lambda: png(60000, 60000, 8, bytes(99))),
    "NPY that would fill the memory": ("npy", lambda: header_of((90000, 90000, 3))),
}
assert len(PLANTED) == 40


def bad_files(folder: Path, stem: str = "bad") -> list[tuple[str, str]]:
    """Write a file of each kind into a folder; their names, each with its kind."""
    folder.mkdir(parents=True, exist_ok=True)
    named = []
    for number, (kind, (ending, content)) in enumerate(PLANTED.items()):
        name = f"{stem}{number:02d}.{ending}"
        (folder / name).write_bytes(content())
        named.append((name, kind))
    return named


def odd_things(folder: Path) -> list[str]:
    """Put what is no file at all under the names of images; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "odd-folder.png").mkdir()
    (folder / "odd-nothing.png").symlink_to(folder / "not there")
    (folder / "odd-loop.png").symlink_to(folder / "odd-loop.png")
    os.mkfifo(folder / "odd-fifo.png")
    (folder / "odd-device.png").symlink_to("/dev/zero")
    return [f"odd-{what}.png" for what in ("folder", "nothing", "loop", "fifo", "device")]
