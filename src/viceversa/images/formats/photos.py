"""JPEG, WebP and BMP: read by Pillow, after their headers were looked at here.

Pillow's plug-ins are called by name, so that no other of its formats can open; what is too large
is refused before Pillow sees it; metadata are cut out of a JPEG, since Pillow parses (and warns
about) even those that nobody asked for.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ..bands import fits, unpacked
from .layout import MOST_PAGES, Layout, Refused, Tags, guard, orientation

ICC = b"ICC_PROFILE\0"  # begins a segment with a part of a profile; its number and count follow


class Jpeg:
    """An opened JPEG, of 8 bits."""

    pages = 1

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, most
        self._turn, self._kept = 1, [b"\xff\xd8"]
        self._profile: list[tuple[int, bytes]] = []  # parts of the ICC profile by their number
        self._frame()
        guard(self.height, self.width, most)

    def _frame(self) -> None:
        """Read the segments before the first scan; keep those that decoding needs."""
        self._file.seek(2)
        size = b""
        while (marker := self._marker()) != 0xDA:
            length = int.from_bytes(self._file.read(2), "big")
            body = self._file.read(length - 2) if length >= 2 else b""
            if length < 2 or len(body) < length - 2:
                raise Refused("is damaged or cannot be read: its header is cut short")
            if marker == 0xE1 and body.startswith(b"Exif\0\0") and self._turn == 1:
                self._turn = orientation(body)
            if marker == 0xE2 and body.startswith(ICC):
                self._profile.append((body[len(ICC)], body[len(ICC) + 2 :]))
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                if marker not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
                    raise Refused("is a lossless or hierarchical JPEG, which is not read")
                size = body
            if not 0xE1 <= marker <= 0xED and marker not in (0xEF, 0xFE):
                self._kept += [b"\xff", bytes([marker]), length.to_bytes(2, "big"), body]
        self._scan = self._file.tell() - 2
        if len(size) < 6:
            raise Refused("is damaged or cannot be read: it has no frame")
        self.precision, self.bands = size[0], size[5]
        self.height, self.width = int.from_bytes(size[1:3], "big"), int.from_bytes(size[3:5], "big")

    def _marker(self) -> int:
        """The next marker that has a length."""
        byte = self._file.read(1)
        if byte != b"\xff":
            raise Refused("is damaged or cannot be read: its segments do not follow each other")
        while byte == b"\xff":  # any number of them may come before a marker
            byte = self._file.read(1)
        if not byte or byte[0] in (0x00, 0x01, *range(0xD0, 0xDA)):
            raise Refused("is damaged or cannot be read: it ends before its image")
        return byte[0]

    def layout(self, page: int) -> Layout:
        if self.precision != 8:
            raise Refused(f"is a JPEG of {self.precision} bits, which is not read; save it as PNG")
        modes = {1: ("grey", 1), 3: ("RGB", 3), 4: ("CMYK", 3)}
        if self.bands not in modes:
            raise Refused(f"is a JPEG of {self.bands} bands, which is not read")
        mode, bands = modes[self.bands]
        return Layout(self.height, self.width, bands, "uint8", mode, orientation=self._turn)

    def tags(self, page: int) -> Tags:
        return Tags(icc=b"".join(body for _, body in sorted(self._profile)))

    def pixels(self, page: int, indices: bool) -> NDArray[Any]:
        self._file.seek(self._scan)
        data = BytesIO(b"".join([*self._kept, self._file.read()]))
        with fits(JpegImageFile(data), self.height, self.width) as image:
            return np.asarray(image) if indices else unpacked(image)[0]


class WebP:
    """An opened WebP, still or animated."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._alpha, self._turn, self.pages, self._profile = False, 1, 0, b""
        self.height = self.width = 0
        file.seek(12)
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[4:], "little")
            self._chunk(head[:4], length)
            file.seek(length + length % 2 - self._taken, 1)
        self.pages = max(self.pages, 1)
        if self.pages > MOST_PAGES:
            raise Refused(f"holds more than {MOST_PAGES} frames")
        guard(self.height, self.width, most)

    def _chunk(self, kind: bytes, length: int) -> None:
        """Take what a chunk says; the first size is the canvas's, of animations too."""
        whole = kind in (b"EXIF", b"ICCP")
        body = self._file.read(length if whole else min(length, 16))
        self._taken = len(body)
        if kind == b"EXIF":
            self._turn = orientation(body)
        elif kind == b"ICCP":
            self._profile = body
        elif kind == b"ALPH":
            self._alpha = True
        elif kind == b"ANMF":
            self.pages += 1
        elif kind == b"VP8X":
            self._alpha = bool(body[0] & 0x10)
            size = int.from_bytes(body[4:7], "little"), int.from_bytes(body[7:10], "little")
            self.width, self.height = size[0] + 1, size[1] + 1
        elif kind in (b"VP8 ", b"VP8L"):
            bits = int.from_bytes(body[6:10] if kind == b"VP8 " else body[1:5], "little")
            step = 16 if kind == b"VP8 " else 14
            size = bits & 0x3FFF, bits >> step & 0x3FFF
            if kind == b"VP8L":
                size = size[0] + 1, size[1] + 1
                self._alpha |= bool(bits >> 28 & 1)
            if not self.width:
                self.width, self.height = size

    def layout(self, page: int) -> Layout:
        mode, bands = ("RGB + alpha", 4) if self._alpha else ("RGB", 3)
        return Layout(self.height, self.width, bands, "uint8", mode, self._alpha, self._turn)

    def tags(self, page: int) -> Tags:
        return Tags(icc=self._profile)

    def pixels(self, page: int, indices: bool) -> NDArray[Any]:
        self._file.seek(0)
        with fits(WebPImageFile(self._file), self.height, self.width) as image:
            image.seek(page)
            return unpacked(image)[0]


class Bmp:
    """An opened BMP."""

    pages = 1

    def __init__(self, file: BinaryIO, most: int) -> None:
        file.seek(14)
        head = file.read(12)
        old = int.from_bytes(head[:4], "little") == 12
        sizes = (head[4:6], head[6:8]) if old else (head[4:8], head[8:12])
        width, height = (int.from_bytes(size, "little", signed=not old) for size in sizes)
        guard(abs(height), width, most)  # a negative height: rows from the top
        file.seek(0)
        self._image = fits(BmpImageFile(file), abs(height), width)

    def layout(self, page: int) -> Layout:
        modes = {
            "1": ("bool", "grey", 1),
            "L": ("uint8", "grey", 1),
            "P": ("uint8", "palette", 3),
            "RGB": ("uint8", "RGB", 3),
            "RGBA": ("uint8", "RGB + alpha", 4),
        }
        dtype, mode, bands = modes[self._image.mode]
        height, width = self._image.height, self._image.width
        return Layout(height, width, bands, dtype, mode, alpha=bands == 4)

    def tags(self, page: int) -> Tags:
        return Tags()

    def pixels(self, page: int, indices: bool) -> NDArray[Any]:
        return np.asarray(self._image) if indices else unpacked(self._image)[0]
