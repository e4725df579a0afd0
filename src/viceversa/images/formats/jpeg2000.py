"""JPEG 2000, as a JP2 file or a bare codestream: decoded by imagecodecs, at any bit depth.

Only the codestream reaches the decoder: neither profiles nor palettes can change a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .layout import Layout, Refused, Tags, guard

JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"  # SOC, then SIZ
SRGB, GREY = 16, 17
CUT = "is damaged or cannot be read: it ends too early"


class Jpeg2000:
    """An opened JP2 or codestream, of 1 to 16 bits, signed or not."""

    pages = 1

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._alpha, self._start = file, False, -1
        self._order: list[int] = []  # the colour that each band is, where the file says so
        bare = file.read(4) == CODESTREAM
        self._end = file.seek(0, 2)
        if bare:
            self._start = 0
        else:
            self._boxes(0, self._end)
        if self._start < 0:
            raise Refused("is damaged or cannot be read: it has no codestream")
        self._size(most)
        colours = self.bands - self._alpha
        if self._order and self._order != list(range(1, colours + 1)):
            raise Refused("is a JPEG 2000 whose bands are in another order, which is not read")

    def _boxes(self, start: int, end: int) -> None:
        """Read the boxes of the file, or of a box: those that say what the bands are."""
        for kind, body, after in self._walk(start, end):
            if kind == b"jp2h":
                self._boxes(body, after)
            elif kind == b"colr":
                self._colour_space(self._bytes(body, 7))
            elif kind == b"pclr":
                raise Refused("is a JPEG 2000 with a palette, which is not read; save it as PNG")
            elif kind == b"cdef":
                self._definitions(self._bytes(body, min(after - body, 2 + 6 * 2**14)))
            elif kind == b"jp2c":
                if self._start >= 0:
                    raise Refused("is a JPEG 2000 of several images, which is not read")
                self._start, self._end = body, after

    def _walk(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield (kind, where its body starts, where it ends) of each box."""
        while start + 8 <= end:
            head = self._bytes(start, 16)
            length, body = int.from_bytes(head[:4], "big"), start + 8
            if length == 1:
                length, body = int.from_bytes(head[8:], "big"), start + 16
            after = start + length if length else end
            if after < body:
                raise Refused("is damaged or cannot be read: a box has an impossible length")
            yield head[4:8], body, after
            start = after

    def _bytes(self, at: int, count: int) -> bytes:
        self._file.seek(at)
        return self._file.read(count)

    def _colour_space(self, body: bytes) -> None:
        known = int.from_bytes(body[3:7], "big") in (0, SRGB, GREY)
        if body[0] == 1 and not known:
            raise Refused(
                "is a JPEG 2000 of a colour space other than RGB and grey; save it as RGB"
            )

    def _definitions(self, body: bytes) -> None:
        """Take which band is which colour, and whether the last one is transparency."""
        rows = np.frombuffer(body[2 : 2 + 6 * (len(body) // 6)], ">u2").reshape(-1, 3).tolist()
        rows.sort()
        self._alpha = rows[-1][1] == 1
        if any(kind for _, kind, _ in (rows[:-1] if self._alpha else rows)):
            raise Refused("is a JPEG 2000 with bands that are neither colours nor transparency")
        self._order = [colour for _, kind, colour in rows if kind == 0]

    def _size(self, most: int) -> None:
        """Read the marker SIZ: the size, and each band's bits and sampling."""
        head = self._bytes(self._start, 42)
        if head[:4] != CODESTREAM or len(head) < 42:
            raise Refused("is damaged or cannot be read: its codestream has no size")
        right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = (
            int.from_bytes(head[at : at + 4], "big") for at in range(8, 40, 4)
        )
        self.height, self.width = bottom - top, right - left
        self.bands = int.from_bytes(head[40:42], "big")
        guard(self.height, self.width, most, self.bands)
        if not (tile_width and tile_height):
            raise Refused("is damaged or cannot be read: its tiles have no size")
        rows, columns = (
            -(-(bottom - tile_top) // tile_height),
            -(-(right - tile_left) // tile_width),
        )
        if rows * columns > 65535:
            raise Refused(f"is damaged or cannot be read: it has {rows * columns} tiles")
        kinds = self._bytes(self._start + 42, 3 * self.bands)
        if len(kinds) < 3 * self.bands:
            raise Refused(CUT)
        if len({kinds[at : at + 3] for at in range(0, len(kinds), 3)}) > 1 or kinds[1:3] != b"\1\1":
            raise Refused("is a JPEG 2000 whose bands differ in bits or in size, which is not read")
        self.signed, self.bits = bool(kinds[0] & 0x80), (kinds[0] & 0x7F) + 1
        if self.bits > 16:
            raise Refused(f"is a JPEG 2000 of {self.bits} bits, which is not read")

    def layout(self, page: int) -> Layout:
        kinds = {1: "grey", 2: "grey + alpha", 3: "RGB", 4: "RGB + alpha"}
        mode = kinds.get(self.bands, "")
        if not mode or mode.endswith("alpha") != self._alpha:
            mode = f"{self.bands} bands"
        dtype = f"{'' if self.signed else 'u'}int{8 if self.bits <= 8 else 16}"
        return Layout(self.height, self.width, self.bands, dtype, mode, self._alpha)

    def tags(self, page: int) -> Tags:
        return Tags()

    def pixels(self, page: int, indices: bool) -> NDArray[Any]:
        import imagecodecs  # here, since most data sets have no such file

        # Strict: a codestream that is cut off is an error.
        values: NDArray[Any] = imagecodecs.jpeg2k_decode(
            self._bytes(self._start, self._end - self._start)
        )
        values = values[:, :, None] if values.ndim == 2 else values
        if values.shape != (self.height, self.width, self.bands):
            raise Refused("is damaged or cannot be read: its image is not of its header's size")
        return values
