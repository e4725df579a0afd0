"""NPY and Netpbm (PBM, PGM, PPM), which Pillow would scale to 8 bits."""

from __future__ import annotations

import re
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..header import DAMAGED, MAX_PAGES, TRUNCATED, Header, ImageFile, Refused, mode_name

CHANNELS = {b"1": 1, b"2": 1, b"3": 3, b"4": 1, b"5": 1, b"6": 3}
BITMAPS, TEXTS = b"14", b"123"  # kinds with one bit per pixel, and kinds stored as text
NUMBER = rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,10})"
NETPBM_HEADER = re.compile(
    rb"P(?:([14])" + NUMBER * 2 + rb"|([2356])" + NUMBER * 3 + rb")\s"  # one space, then pixels
)
MAX_HEADER = 4096  # bytes, with comments


def open_npy(file: BinaryIO) -> ImageFile:
    """Open a .npy file. Never unpickles."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise Refused(f"is an array of version {version[0]}.{version[1]}, not 1.0 or 2.0")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject or dtype.kind not in "biuf":
        raise Refused(f"contains {dtype} values, not real numbers")
    if len(shape) not in (2, 3):
        raise Refused(f"has the shape {shape}, not (height, width, channels)")
    if len(shape) == 3 and shape[0] < shape[1] and shape[2] >= max(16, 4 * shape[0]):
        raise Refused(
            f"has the shape {shape}, which looks like (channels, height, width); save it as "
            f"(height, width, channels): {(*shape[1:], shape[0])}"
        )
    height, width, channels = (*shape, 1)[:3]
    mode = mode_name("RGB" if channels == 3 else "grey", channels)
    header = Header(height, width, channels, dtype.name, mode)

    def pixels(page: int, indices: bool) -> NDArray[Any]:
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)

    return ImageFile(lambda page: header, pixels)


class _Netpbm(NamedTuple):
    """Header of an image; `start` and `size`: position of its pixels in the file, in bytes."""

    kind: bytes
    height: int
    width: int
    maximum: int
    start: int
    size: int


def is_netpbm(magic: bytes) -> bool:
    """Return whether a file that starts with these bytes is a PBM, PGM or PPM."""
    space = magic[2:3].isspace() or magic[2:3] == b"#"
    return magic[:1] == b"P" and magic[1:2] in CHANNELS and space


def open_netpbm(file: BinaryIO) -> ImageFile:
    """Open a PBM, PGM or PPM. Binary files may contain several images: each is a page."""
    images: list[_Netpbm] = []
    at, start, block = 0, 0, b""
    while len(images) <= MAX_PAGES:
        if at + MAX_HEADER > start + len(block):  # one block contains many small images
            start = file.seek(at)
            block = file.read(16 * MAX_HEADER)
        match = NETPBM_HEADER.match(block, at - start)
        if not match:
            break
        images.append(image := _netpbm(match, start))
        if image.kind in TEXTS:
            break
        at = image.start + image.size
    if not images:
        raise Refused(f"{DAMAGED}: its header is invalid")

    def header(page: int) -> Header:
        image = images[page]
        channels = CHANNELS[image.kind]
        dtype = "bool" if image.kind in BITMAPS else "uint16" if image.maximum > 255 else "uint8"
        mode = "RGB" if channels == 3 else "grey"
        return Header(image.height, image.width, channels, dtype, mode)

    def pixels(page: int, indices: bool) -> NDArray[Any]:
        image = images[page]
        file.seek(image.start)
        values = _text(file, image) if image.kind in TEXTS else _binary(file, image)
        if values.max() > image.maximum:
            raise Refused(f"{DAMAGED}: it has values above its maxval")
        values = values.reshape(image.height, image.width, CHANNELS[image.kind])
        if image.kind not in BITMAPS:
            return values.astype(header(page).dtype)
        return np.asarray(values == (1 if indices else 0))  # 1 is black

    return ImageFile(header, pixels, pages=len(images))


def _netpbm(match: re.Match[bytes], at: int) -> _Netpbm:
    kind = match[1] or match[4]
    width, height = int(match[2] or match[5]), int(match[3] or match[6])
    maximum = int(match[7] or 1)
    if not 1 <= maximum <= 65535:
        raise Refused(f"{DAMAGED}: its maxval is {maximum}, not 1 to 65535")
    row = -(-width // 8) if kind in BITMAPS else width * CHANNELS[kind] * (1 + (maximum > 255))
    return _Netpbm(kind, height, width, maximum, at + match.end(), height * row)


def _binary(file: BinaryIO, image: _Netpbm) -> NDArray[Any]:
    data = file.read(image.size)
    if len(data) < image.size:
        raise Refused(TRUNCATED)
    if image.kind in BITMAPS:
        rows = np.frombuffer(data, np.uint8).reshape(image.height, -1)
        return np.unpackbits(rows, axis=1, count=image.width)
    return np.frombuffer(data, ">u2" if image.maximum > 255 else np.uint8)


def _text(file: BinaryIO, image: _Netpbm) -> NDArray[Any]:
    words = [word for line in file for word in line.partition(b"#")[0].split()]
    digits, wanted = b"".join(words), image.height * image.width * CHANNELS[image.kind]
    if not digits.isdigit() or len(digits if image.kind in BITMAPS else words) < wanted:
        raise Refused(f"{DAMAGED}: it has too few numbers, or other text")
    if image.kind in BITMAPS:  # digits need no spaces between them
        return np.frombuffer(digits, np.uint8, wanted) - np.uint8(ord("0"))
    return np.array([min(int(word), 65536) for word in words[:wanted]])
