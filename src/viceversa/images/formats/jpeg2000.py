"""JPEG 2000 (JP2 file or codestream), decoded by imagecodecs, of up to 16 bits.

Only the codestream is decoded, so that no profile or palette changes a value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..header import DAMAGED, TRUNCATED, Header, ImageFile, Refused, mode_name

JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"  # SOC, then SIZ
SIZ = struct.Struct(">8I H")  # image, origin, tile, origin of tiles (width and height); channels


def open_jpeg2000(file: BinaryIO) -> ImageFile:
    """Open a JP2 file or a codestream of 1 to 16 bits, signed or unsigned."""
    start, end, alpha = 0, file.seek(0, 2), False
    order: list[int] = []
    if _bytes(file, 0, 4) != CODESTREAM:
        boxes = list(_boxes(file, 0, end))
        for kind, body, after in boxes:
            if kind == b"colr":
                _check_colours(_bytes(file, body, 7))
            elif kind == b"pclr":
                raise Refused("is a JPEG 2000 with a palette, which is not read; save it as PNG")
            elif kind == b"cdef":
                order, alpha = _channel_order(_bytes(file, body, min(after - body, 2 + 6 * 2**14)))
        streams = [box[1:] for box in boxes if box[0] == b"jp2c"]
        if len(streams) != 1:
            raise Refused(f"is a JPEG 2000 of {len(streams)} images, which is not read")
        start, end = streams[0]
    height, width, channels = _size(_bytes(file, start, 42))
    if order and order != list(range(1, channels - alpha + 1)):
        raise Refused("is a JPEG 2000 with its channels in another order, which is not read")
    kinds = _bytes(
        file, start + 42, 3 * channels
    )  # for each channel: bits, horizontal and vertical subsampling
    if len(kinds) < 3 * channels:
        raise Refused(TRUNCATED)
    if kinds != kinds[:3] * channels or kinds[1:3] != b"\1\1":
        raise Refused("is a JPEG 2000 whose channels differ in bits or size, which is not read")
    signed, bits = kinds[0] & 0x80, (kinds[0] & 0x7F) + 1
    if bits > 16:
        raise Refused(f"is a JPEG 2000 of {bits} bits, which is not read")
    mode = mode_name("grey" if channels - alpha == 1 else "RGB", channels, alpha)
    dtype = f"{'' if signed else 'u'}int{8 if bits <= 8 else 16}"
    header = Header(height, width, channels, dtype, mode, alpha)

    def pixels(page: int, indices: bool) -> NDArray[Any]:
        import imagecodecs  # imported here: few datasets need it

        # The decoder is strict: a truncated codestream is an error.
        decoded: NDArray[Any] = imagecodecs.jpeg2k_decode(_bytes(file, start, end - start))
        return decoded

    return ImageFile(lambda page: header, pixels)


def _bytes(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start of the contents, end) of each box, including boxes in the header box."""
    while start + 8 <= end:
        head = _bytes(file, start, 16)
        length, kind, body = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if length == 1:
            length, body = int.from_bytes(head[8:], "big"), start + 16
        after = start + length if length else end
        if after < body:
            raise Refused(f"{DAMAGED}: a box has an invalid length")
        if kind == b"jp2h":
            yield from _boxes(file, body, after)
        else:
            yield kind, body, after
        start = after


def _check_colours(body: bytes) -> None:
    method, space = struct.unpack(">BxxI", body)
    if method == 1 and space not in (0, 16, 17):  # unknown, sRGB, grey
        raise Refused("is a JPEG 2000 in a colour space other than RGB and grey; save it as RGB")


def _channel_order(body: bytes) -> tuple[list[int], bool]:
    """Return the colour of each channel, and whether the last channel is alpha."""
    rows = sorted(np.frombuffer(body[2 : 2 + 6 * (len(body) // 6)], ">u2").reshape(-1, 3).tolist())
    alpha = rows[-1][1] == 1
    if any(kind for _, kind, _ in (rows[:-1] if alpha else rows)):
        raise Refused("is a JPEG 2000 with channels that are neither colours nor transparency")
    return [colour for _, kind, colour in rows if kind == 0], alpha


def _size(head: bytes) -> tuple[int, int, int]:
    """Return height, width and channels from the start of a codestream."""
    if head[:4] != CODESTREAM or len(head) < 42:
        raise Refused(f"{DAMAGED}: its codestream has no size")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, channels = SIZ.unpack(
        head[8:]
    )
    if not (tile_width and tile_height):
        raise Refused(f"{DAMAGED}: its tiles have no size")
    tiles = -((tile_top - bottom) // tile_height) * -((tile_left - right) // tile_width)
    if tiles > 65535:  # maximum of the format
        raise Refused(f"{DAMAGED}: it has {tiles} tiles")
    return bottom - top, right - left, channels
