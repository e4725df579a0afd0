"""GIF: read by Pillow, after its blocks were walked over here."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from ..bands import fits
from .layout import MOST_PAGES, Layout, Refused, Tags, guard


class Gif:
    """An opened GIF, still or animated; each frame with those before it underneath."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        file.seek(0)
        data = file.read()
        self.width, self.height = (int.from_bytes(data[i : i + 2], "little") for i in (6, 8))
        guard(self.height, self.width, most)
        self.pages, self._clear, self._grey = 0, False, False
        self._blocks(data)
        if not 0 < self.pages <= MOST_PAGES:
            raise Refused(f"holds {'no' if not self.pages else f'more than {MOST_PAGES}'} frames")
        self._image: GifImageFile | None = None

    def _blocks(self, data: bytes) -> None:
        """Walk over all blocks up to the trailer."""
        table = self._table(data, 10, 13)
        at = 13 + len(table)
        while self.pages <= MOST_PAGES and (kind := data[at]) != 0x3B:
            if kind == 0x2C:
                left, top, width, height = (
                    int.from_bytes(data[i : i + 2], "little") for i in range(at + 1, at + 9, 2)
                )
                if left + width > self.width or top + height > self.height:
                    raise Refused("is damaged or cannot be read: a frame is larger than its image")
                own = self._table(data, at + 9, at + 10)
                if not self.pages:
                    self._grey = all(c == i // 3 for i, c in enumerate(own or table))
                self.pages += 1
                at += 11 + len(own)
            elif kind == 0x21:
                self._clear |= data[at + 1] == 0xF9 and bool(data[at + 3] & 1)
                at += 2
            else:
                raise Refused("is damaged or cannot be read: its blocks do not follow each other")
            while data[at]:
                at += data[at] + 1
            at += 1

    @staticmethod
    def _table(data: bytes, flags: int, start: int) -> bytes:
        """The colour table that begins at `start`, where the byte at `flags` says there is one."""
        size = 3 << (data[flags] & 7) + 1 if data[flags] & 0x80 else 0
        return data[start : start + size]

    def layout(self, page: int) -> Layout:
        grey = self._grey and self.pages == 1
        base = "grey" if grey else "palette"
        mode = f"{base} + alpha" if self._clear else base
        bands = (1 if grey else 3) + self._clear
        return Layout(self.height, self.width, bands, "uint8", mode, self._clear)

    def tags(self, page: int) -> Tags:
        return Tags()

    def pixels(self, page: int, indices: bool) -> NDArray[Any]:
        if self._image is None:
            self._file.seek(0)
            self._image = GifImageFile(self._file)
        self._image.seek(page)
        image: Image.Image = fits(self._image, self.height, self.width)
        if indices:
            if image.mode not in ("P", "L"):
                raise Refused("gives no class numbers: its frames are drawn over each other")
            return np.asarray(image)
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[self.layout(page).bands]
        return np.asarray(image.convert(mode))
