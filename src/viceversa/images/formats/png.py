"""PNG: 8 bits and less by Pillow, 16 bits by imagecodecs, since Pillow clips those to 8."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from ..bands import fits, unpacked
from .adam7 import deinterlaced
from .layout import LARGEST_PROFILE, Layout, Refused, Tags, guard, orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
ANIMATION = (b"acTL", b"fcTL", b"fdAT")


class Png:
    """An opened PNG, still or animated.

    Of its chunks only those reach a decoder that pixels need: texts cannot fill the memory, and
    neither gamma nor profiles can change a number.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._turn, self.pages, self._clear, self._profile = 1, 1, b"", b""
        self._chunks: list[tuple[bytes, int, int]] = []  # kind, where it starts, length of its data
        self._whole = False
        self._walk()
        self._check()
        guard(self.height, self.width, most)

    def _walk(self) -> None:
        at, animated, first = len(SIGNATURE), False, True  # of IDAT
        self._file.seek(at)
        while not self._whole and len(head := self._file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind in (b"IHDR", b"eXIf", b"tRNS", b"acTL", b"iCCP"):
                self._take(kind, self._file.read(length if length < 2**24 else 0))
            animated |= kind == b"fcTL"
            if kind == b"IDAT" and first and self._has(b"acTL") and not animated:
                self.pages += 1  # the image itself is no frame of the animation, but a page of ours
            first &= kind != b"IDAT"
            if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", *ANIMATION):
                self._chunks.append((kind, at, length))
            at += 12 + length
            self._file.seek(at)
            self._whole = kind == b"IEND"

    def _take(self, kind: bytes, body: bytes) -> None:
        if kind == b"IHDR":
            self._header = body
        elif kind == b"eXIf":
            self._turn = orientation(body)
        elif kind == b"tRNS":
            self._clear = body
        elif kind == b"iCCP":
            self._profile = _inflated(body.partition(b"\0")[2][1:])
        elif not self._has(b"IDAT"):
            self.pages = int.from_bytes(body[:4], "big")
            if not 0 < self.pages < 2**31:
                raise Refused(
                    f"is damaged or cannot be read: it says that it has {self.pages} frames"
                )

    def _has(self, kind: bytes) -> bool:
        return any(kind == other for other, _, _ in self._chunks)

    def _check(self) -> None:
        """What IHDR says; it must be the first chunk."""
        if not self._chunks or self._chunks[0][0] != b"IHDR" or len(self._header) != 13:
            raise Refused("is damaged or cannot be read: it does not begin with a header")
        sizes = self._header[:4], self._header[4:8]
        self.width, self.height = (int.from_bytes(size, "big") for size in sizes)
        self.bits, self.colour = self._header[8], self._header[9]
        allowed = {GREY: (1, 2, 4, 8, 16), PALETTE: (1, 2, 4, 8)}
        if self.colour not in (0, 2, 3, 4, 6) or self.bits not in allowed.get(self.colour, (8, 16)):
            raise Refused("is damaged or cannot be read: its header is none of a PNG")

    def layout(self, page: int) -> Layout:
        base = {GREY: "grey", GREY_ALPHA: "grey", PALETTE: "palette"}.get(self.colour, "RGB")
        alpha = bool(self._clear) or self.colour in (GREY_ALPHA, RGB_ALPHA)
        dtype = {1: "bool", 16: "uint16"}.get(self.bits, "uint8")
        return Layout(
            self.height,
            self.width,
            (1 if base == "grey" else 3) + alpha,
            "uint8" if self.colour == PALETTE else dtype,
            f"{base} + alpha" if alpha else base,
            alpha,
            self._turn,
        )

    def tags(self, page: int) -> Tags:
        return Tags(icc=self._profile)

    def pixels(self, page: int, indices: bool) -> NDArray[Any]:
        if not self._whole:
            raise Refused("is damaged or cannot be read: it ends too early")
        if self.bits == 16:
            values = self._sixteen()
        else:
            with fits(PngImageFile(BytesIO(self._kept())), self.height, self.width) as image:
                image.seek(page)
                values = np.asarray(image) if indices else unpacked(image)[0]
        if not indices:
            return self._with_clear_colour(values)
        return values // self._step if self.colour == GREY and self.bits in (2, 4) else values

    @property
    def _step(self) -> int:
        """How far apart the grey values of 1, 2 or 4 bits lie where white is 255."""
        return 255 // (2**self.bits - 1) if self.bits < 8 else 1

    def _sixteen(self) -> NDArray[Any]:
        import imagecodecs  # here, since hardly a run needs it

        if self.pages > 1:
            raise Refused("is an animation of 16 bits, which is not read")
        if self._header[12]:
            bands = {GREY: 1, GREY_ALPHA: 2, RGB: 3, RGB_ALPHA: 4}[self.colour]
            return deinterlaced(self._packed(), self.height, self.width, bands, self.colour)
        values: NDArray[Any] = imagecodecs.png_decode(self._kept())
        if values.shape[:2] != (self.height, self.width):
            raise Refused("is damaged or cannot be read: its image is not of its header's size")
        return values if values.ndim == 3 else values[:, :, None]

    def _kept(self) -> bytes:
        """The file without the chunks that pixels don't need."""
        still = self.pages == 1
        parts = [SIGNATURE]
        for kind, at, length in self._chunks:
            if (still and kind in ANIMATION) or (kind == b"tRNS" and self.colour != PALETTE):
                continue
            self._file.seek(at)
            parts.append(self._file.read(12 + length))
        return b"".join(parts)

    def _packed(self) -> bytes:
        """The compressed rows alone."""
        parts = []
        for kind, at, length in self._chunks:
            if kind == b"IDAT":
                self._file.seek(at + 8)
                parts.append(self._file.read(length))
        return b"".join(parts)

    def _with_clear_colour(self, values: NDArray[Any]) -> NDArray[Any]:
        """Grey and RGB with alpha where one colour is declared transparent.

        Done here, since Pillow compares it with values that it has scaled already.
        """
        if not self._clear or self.colour not in (GREY, RGB):
            return values
        if len(self._clear) != 2 * values.shape[2]:
            raise Refused("is damaged or cannot be read: its transparent colour is none")
        colour = np.frombuffer(self._clear, ">u2").astype(np.int64) * self._step
        white = np.iinfo(values.dtype).max
        alpha = np.where((values == colour).all(axis=2, keepdims=True), 0, white)
        return np.concatenate([values, alpha.astype(values.dtype)], axis=2)


def _inflated(data: bytes) -> bytes:
    """A compressed profile; empty if it is damaged or larger than any that is kept."""
    try:
        inflater = zlib.decompressobj()
        profile = inflater.decompress(data, LARGEST_PROFILE)
    except zlib.error:
        return b""
    return profile if inflater.eof else b""
