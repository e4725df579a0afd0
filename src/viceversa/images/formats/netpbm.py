"""PBM, PGM and PPM, raw or plain text, of any maxval: read here, since Pillow cuts to 8 bits."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .layout import MOST_PAGES, Layout, Refused, Tags, guard

BANDS = {b"1": 1, b"2": 1, b"3": 3, b"4": 1, b"5": 1, b"6": 3}
BITMAP, PLAIN = b"14", b"123"  # kinds of one bit, and those whose numbers are text
NUMBER = rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,10})"
HEADER = re.compile(
    rb"(?:P([14])" + NUMBER * 2 + rb"|P([2356])" + NUMBER * 3 + rb")\s"  # one space, then pixels
)
SHORT, LONGEST = 64, 4096  # bytes of a header: mostly, and at most, with its comments


class _Image(NamedTuple):
    """What the header of an image says."""

    kind: bytes
    height: int
    width: int
    white: int
    """The maxval: 1 to 65535."""
    size: int
    """Bytes of its pixels, of a raw file."""

    @property
    def dtype(self) -> str:
        return "uint16" if self.white > 255 else "uint8"


def is_netpbm(magic: bytes) -> bool:
    """Return whether a file that starts with these bytes is a PBM, PGM or PPM."""
    space = magic[2:3].isspace() or magic[2:3] == b"#"
    return magic[:1] == b"P" and magic[1:2] in BANDS and space


@lru_cache(16)  # the images of a file mostly have one header
def _image(header: bytes, most: int) -> _Image:
    """Return what a header says."""
    found = HEADER.fullmatch(header)
    assert found is not None
    kind = found[1] or found[4]
    width, height = int(found[2] or found[5]), int(found[3] or found[6])
    white = int(found[7] or 1)
    if not 1 <= white <= 65535:
        raise Refused(f"is damaged or cannot be read: its maxval is {white}, not 1 to 65535")
    guard(height, width, most)
    row = -(-width // 8) if kind in BITMAP else width * BANDS[kind] * (1 + (white > 255))
    return _Image(kind, height, width, white, height * row)


def _next_header(file: BinaryIO) -> re.Match[bytes] | None:
    """Match a header where the file is. Short reads stay within the buffer of many small images."""
    start = file.read(SHORT)
    return HEADER.match(start) or HEADER.match(start + file.read(LONGEST - SHORT))


class Netpbm:
    """An opened PBM, PGM or PPM. Raw files may hold several images: each is a page."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._images: list[tuple[_Image, int]] = []  # and where its pixels start
        at = 0
        while header := _next_header(file):
            if len(self._images) == MOST_PAGES:
                raise Refused(f"holds more than {MOST_PAGES} images")
            image, start = _image(header[0], most), at + header.end()
            self._images.append((image, start))
            if image.kind in PLAIN:
                break
            at = file.seek(start + image.size)
        self.pages = len(self._images)
        if not self.pages:
            raise Refused("is damaged or cannot be read: its header is not that of a PBM, PGM, PPM")

    def layout(self, page: int) -> Layout:
        image, _ = self._images[page]
        bands = BANDS[image.kind]
        dtype = "bool" if image.kind in BITMAP else image.dtype
        return Layout(image.height, image.width, bands, dtype, "RGB" if bands == 3 else "grey")

    def tags(self, page: int) -> Tags:
        return Tags()

    def pixels(self, page: int, indices: bool) -> NDArray[Any]:
        image, start = self._images[page]
        self._file.seek(start)
        values = self._text(image) if image.kind in PLAIN else self._raw(image)
        if values.max() > image.white:
            raise Refused("is damaged or cannot be read: it has values above its maxval")
        values = values.reshape(image.height, image.width, BANDS[image.kind])
        if image.kind not in BITMAP:
            return values.astype(image.dtype)
        black = np.asarray(values == 1)
        return black if indices else ~black

    def _raw(self, image: _Image) -> NDArray[Any]:
        data = self._file.read(image.size)
        if len(data) < image.size:
            raise Refused("is damaged or cannot be read: it ends too early")
        if image.kind in BITMAP:
            rows = np.frombuffer(data, np.uint8).reshape(image.height, -1)
            return np.unpackbits(rows, axis=1, count=image.width)
        return np.frombuffer(data, ">u2" if image.white > 255 else np.uint8)

    def _text(self, image: _Image) -> NDArray[Any]:
        words = [word for line in self._file for word in line.partition(b"#")[0].split()]
        digits, wanted = b"".join(words), image.height * image.width * BANDS[image.kind]
        if not digits.isdigit() or len(digits if image.kind in BITMAP else words) < wanted:
            raise Refused("is damaged or cannot be read: it has too few numbers, or other text")
        if image.kind in BITMAP:  # its digits need no space between them
            return np.frombuffer(digits, np.uint8, wanted) - np.uint8(ord("0"))
        return np.array([min(int(word), 65536) for word in words[:wanted]])
