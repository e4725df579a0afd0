"""PNG: decoded by Pillow up to 8 bits; by imagecodecs for 16 bits, which Pillow reduces to 8."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from ..header import (
    DAMAGED,
    MAX_PROFILE,
    TRUNCATED,
    Header,
    ImageFile,
    Refused,
    Tags,
    exif_orientation,
)
from ..pixels import from_pillow, same_size
from .resolution import of_png

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 3, GREY_ALPHA: 2, RGB_ALPHA: 4}
DECODED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
ANIMATION = (b"acTL", b"fcTL", b"fdAT")
PASSES = (  # of Adam7 interlacing: first row and column, step of rows and columns
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


def open_png(file: BinaryIO) -> ImageFile:
    """Open a PNG, still or animated.

    Only the chunks that pixels need are decoded: texts cannot fill the memory, and no gamma or
    profile changes a value.
    """
    chunks, bodies = _chunks(file)
    kinds = [kind for kind, _, _ in chunks]
    before = kinds[: kinds.index(b"IDAT")] if b"IDAT" in kinds else kinds
    width, height, bits, colour, interlaced = struct.unpack(">IIBBxxB", bodies.get(b"IHDR", b""))
    allowed = {GREY: (1, 2, 4, 8, 16), PALETTE: (1, 2, 4, 8)}
    if kinds[0] != b"IHDR" or colour not in CHANNELS or bits not in allowed.get(colour, (8, 16)):
        raise Refused(f"{DAMAGED}: it does not begin with a valid header")
    pages = 1
    if b"acTL" in before:  # the image may be separate from the animation
        pages = int.from_bytes(bodies[b"acTL"][:4], "big") + (b"fcTL" not in before)
    clear = bodies.get(b"tRNS", b"")
    base = {GREY: "grey", GREY_ALPHA: "grey", PALETTE: "palette"}.get(colour, "RGB")
    alpha = bool(clear) or colour in (GREY_ALPHA, RGB_ALPHA)
    header = Header(
        height,
        width,
        (1 if base == "grey" else 3) + alpha,
        {1: "bool", 16: "uint16"}.get(bits, "uint8") if colour != PALETTE else "uint8",
        f"{base} + alpha" if alpha else base,
        alpha,
        exif_orientation(bodies.get(b"eXIf", b"")),
    )
    step = 255 // (2**bits - 1) if bits < 8 else 1  # between grey values, so that white is 255

    def chunk(at: int, length: int) -> bytes:
        file.seek(at)
        return file.read(length)

    def needed() -> bytes:
        wanted = [kind for kind in DECODED if kind != b"tRNS" or colour == PALETTE]
        wanted += ANIMATION if pages > 1 else ()
        return SIGNATURE + b"".join(
            chunk(at, length + 12) for kind, at, length in chunks if kind in wanted
        )

    def pixels(page: int, indices: bool) -> NDArray[Any]:
        if kinds[-1] != b"IEND":
            raise Refused(TRUNCATED)
        if bits < 16:
            image = same_size(PngImageFile(BytesIO(needed())), header)
            image.seek(page)
            values = np.asarray(image) if indices else from_pillow(image)[0]
        elif pages > 1:
            raise Refused("is an animation of 16 bits, which is not read")
        elif interlaced:
            packed = [chunk(at + 8, length) for kind, at, length in chunks if kind == b"IDAT"]
            values = _deinterlaced(b"".join(packed), height, width, colour)
        else:
            import imagecodecs  # imported here: few datasets need it

            values = imagecodecs.png_decode(needed())
        if indices:
            return values // step if colour == GREY and bits in (2, 4) else values
        values = values if values.ndim == 3 else values[:, :, None]
        return _with_alpha(values, clear, step) if clear and colour in (GREY, RGB) else values

    tags = Tags(
        _inflated(bodies.get(b"iCCP", b"").partition(b"\0")[2][1:]),
        resolution=of_png(bodies.get(b"pHYs", b""), header.orientation),
    )
    return ImageFile(lambda page: header, pixels, lambda page: tags, pages)


def _chunks(file: BinaryIO) -> tuple[list[tuple[bytes, int, int]], dict[bytes, bytes]]:
    """Return (type, start, length of the data) of each chunk, and the data of small chunks."""
    chunks: list[tuple[bytes, int, int]] = []
    bodies: dict[bytes, bytes] = {}
    at = file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8 and (not chunks or chunks[-1][0] != b"IEND"):
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in (b"IHDR", b"eXIf", b"tRNS", b"acTL", b"iCCP", b"pHYs"):
            bodies[kind] = file.read(length if length < 2**24 else 0)
        if kind in DECODED or kind in ANIMATION:
            chunks.append((kind, at, length))
        at = file.seek(at + 12 + length)
    return chunks, bodies


def _with_alpha(values: NDArray[Any], clear: bytes, step: int) -> NDArray[Any]:
    """Append alpha to grey or RGB values of which one colour is declared transparent.

    Pillow would compare that colour with scaled values.
    """
    if len(clear) != 2 * values.shape[2]:
        raise Refused(f"{DAMAGED}: its transparent colour is invalid")
    colour = np.frombuffer(clear, ">u2").astype(np.int64) * step
    white = np.iinfo(values.dtype).max
    alpha = np.where((values == colour).all(axis=2, keepdims=True), 0, white)
    return np.concatenate([values, alpha.astype(values.dtype)], axis=2)


def _inflated(data: bytes) -> bytes:
    """Decompress an ICC profile; return b"" if it is damaged or larger than `MAX_PROFILE`."""
    try:
        inflater = zlib.decompressobj()
        profile = inflater.decompress(data, MAX_PROFILE)
    except zlib.error:
        return b""
    return profile if inflater.eof else b""


def _deinterlaced(packed: bytes, height: int, width: int, colour: int) -> NDArray[np.uint16]:
    """Decode an interlaced image of 16 bits pass by pass.

    If imagecodecs decodes an interlaced image, libpng prints a warning to the terminal.
    """
    import imagecodecs

    channels = CHANNELS[colour]
    values = np.empty((height, width, channels), np.uint16)
    parts = [values[top::down, left::right] for top, left, down, right in PASSES]
    parts = [part for part in parts if part.size]
    # Each row begins with a byte for its filter.
    sizes = [part.shape[0] * (1 + part.shape[1] * channels * 2) for part in parts]
    inflater = zlib.decompressobj()
    rows = inflater.decompress(packed, sum(sizes) + 1)
    if len(rows) != sum(sizes) or not inflater.eof:
        raise Refused(f"{DAMAGED}: its passes and its header differ in size")
    for part, size in zip(parts, sizes, strict=True):
        header = struct.pack(">IIBBBBB", part.shape[1], part.shape[0], 16, colour, 0, 0, 0)
        png = [(b"IHDR", header), (b"IDAT", zlib.compress(rows[:size], 0)), (b"IEND", b"")]
        decoded = imagecodecs.png_decode(SIGNATURE + b"".join(as_chunk(*one) for one in png))
        part[:] = decoded.reshape(part.shape)
        rows = rows[size:]
    return values


def as_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
