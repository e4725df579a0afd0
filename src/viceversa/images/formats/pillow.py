"""JPEG, WebP, BMP and GIF, decoded by Pillow.

The plug-ins of Pillow are called directly, so that no other format of Pillow is ever opened.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ..header import (
    DAMAGED,
    MAX_PAGES,
    TRUNCATED,
    Header,
    ImageFile,
    Refused,
    Tags,
    exif_orientation,
)
from ..pixels import from_pillow, same_size
from .resolution import of_jfif

# mode of Pillow -> dtype, mode, channels
MODES = {
    "1": ("bool", "grey", 1),
    "L": ("uint8", "grey", 1),
    "P": ("uint8", "palette", 3),
    "RGB": ("uint8", "RGB", 3),
    "RGBA": ("uint8", "RGB + alpha", 4),
}
ICC = b"ICC_PROFILE\0"  # begins a segment with a part of a profile; its number and count follow
NOT_DECODED = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # metadata: APP1 to APP13, APP15, comments
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 without DHT, JPG and DAC


def open_bmp(file: BinaryIO) -> ImageFile:
    """Open a BMP."""
    image = BmpImageFile(file)
    return ImageFile(lambda page: _header(image), lambda page, indices: _pixels(image, indices))


def open_webp(file: BinaryIO) -> ImageFile:
    """Open a WebP, still or animated. Pillow checks its size before it allocates memory."""
    image = WebPImageFile(file)
    header = _header(image, exif_orientation(image.info.get("exif", b"")))
    tags = Tags(icc=image.info.get("icc_profile", b""))

    def pixels(page: int, indices: bool) -> NDArray[Any]:
        image.seek(page)
        return _pixels(image, False)

    return ImageFile(lambda page: header, pixels, lambda page: tags, image.n_frames)


def _header(image: Image.Image, orientation: int = 1) -> Header:
    dtype, mode, channels = MODES[image.mode]
    return Header(
        image.height, image.width, channels, dtype, mode, image.mode == "RGBA", orientation
    )


def _pixels(image: Image.Image, indices: bool) -> NDArray[Any]:
    return np.asarray(image) if indices else from_pillow(image)[0]


def open_gif(file: BinaryIO) -> ImageFile:
    """Open a GIF, still or animated; each frame is drawn over the previous ones."""
    data = file.read()
    frames, alpha = _gif_frames(data)
    image = GifImageFile(BytesIO(data))
    grey = frames == 1 and image.mode == "L"
    base = "grey" if grey else "palette"
    channels, name = (1 if grey else 3) + alpha, f"{base} + alpha" if alpha else base
    header = Header(image.height, image.width, channels, "uint8", name, alpha)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]

    def pixels(page: int, indices: bool) -> NDArray[Any]:
        image.seek(page)
        if not indices:
            return np.asarray(image.convert(mode))
        if image.mode not in ("P", "L"):
            raise Refused("has no class indices: its frames are drawn over each other")
        return np.asarray(image)

    return ImageFile(lambda page: header, pixels, pages=frames)


def _gif_frames(data: bytes) -> tuple[int, bool]:
    """Return the number of frames, and whether any frame has a transparent colour.

    Pillow takes seconds for a file of many frames, and enlarges an image to its frames.
    """

    def table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    width, height, flags = struct.unpack_from("<HHB", data, 6)
    frames, alpha, at = 0, False, 13 + table(flags)
    while frames <= MAX_PAGES and (kind := data[at]) != 0x3B:
        if kind == 0x2C:
            frames += 1
            left, top, across, down, flags = struct.unpack_from("<4HB", data, at + 1)
            if left + across > width or top + down > height:
                raise Refused(f"{DAMAGED}: a frame is larger than its image")
            at += 11 + table(flags)
        elif kind == 0x21:
            alpha |= data[at + 1] == 0xF9 and bool(data[at + 3] & 1)
            at += 2
        else:
            raise Refused(f"{DAMAGED}: it has an invalid block")
        while data[at]:
            at += data[at] + 1
        at += 1
    if not frames:
        raise Refused("has no frames")
    return frames, alpha


def open_jpeg(file: BinaryIO) -> ImageFile:
    """Open a JPEG of 8 bits.

    Metadata are removed: Pillow would parse them, and warn if they are damaged.
    """
    kept, profile, orientation, frame, jfif = [b"\xff\xd8"], [], 1, b"", b""
    file.seek(2)
    while (marker := _marker(file)) != 0xDA:
        size = file.read(2)
        body = file.read(max(int.from_bytes(size, "big") - 2, 0))
        if len(size) < 2 or len(body) != int.from_bytes(size, "big") - 2:
            raise Refused(TRUNCATED)
        if marker == 0xE1 and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = exif_orientation(body)
        elif marker == 0xE2 and body.startswith(ICC):
            profile.append((body[len(ICC)], body[len(ICC) + 2 :]))
        elif marker == 0xE0:
            jfif = jfif or body
        elif marker in FRAMES:
            if marker not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
                raise Refused("is a lossless or hierarchical JPEG, which is not read")
            frame = body
        if marker not in NOT_DECODED:
            kept += [b"\xff", bytes([marker]), size, body]
    scan = file.tell() - 2
    bits, height, width, channels = struct.unpack_from(">BHHB", frame)
    if bits != 8:
        raise Refused(f"is a JPEG of {bits} bits, which is not read; save it as PNG")
    if channels not in (1, 3, 4):
        raise Refused(f"is a JPEG of {channels} channels, which is not read")
    mode = {1: "grey", 3: "RGB", 4: "CMYK"}[channels]
    header = Header(height, width, min(channels, 3), "uint8", mode, orientation=orientation)
    icc = b"".join(body for _, body in sorted(profile))
    tags = Tags(icc, resolution=of_jfif(jfif, orientation))

    def pixels(page: int, indices: bool) -> NDArray[Any]:
        file.seek(scan)
        image = JpegImageFile(BytesIO(b"".join([*kept, file.read()])))
        return _pixels(same_size(image, header), indices)

    return ImageFile(lambda page: header, pixels, lambda page: tags)


def _marker(file: BinaryIO) -> int:
    """Read the next marker, which any number of fill bytes may precede."""
    byte = file.read(1)
    if byte != b"\xff":
        raise Refused(f"{DAMAGED}: it has an invalid segment")
    while byte == b"\xff":
        byte = file.read(1)
    if not byte or byte[0] in (0x00, 0x01, *range(0xD0, 0xDA)):
        raise Refused(f"{DAMAGED}: it ends before its image")
    return byte[0]
