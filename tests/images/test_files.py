"""Test decoding: a table of file modes against known arrays and independent decoders."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from encoders import (
    Array,
    bmp,
    boxes,
    chunk,
    ifds,
    jp2,
    netpbm,
    npy,
    png,
    saved,
    tiff,
    with_box,
)
from PIL import Image

from viceversa.errors import UserError
from viceversa.images import MAX_PIXELS, Pixels, Source, decode, fit_channels, read, read_header
from viceversa.images.domain import DomainConfig
from viceversa.images.formats.arrays import open_netpbm
from viceversa.images.loading import to_domain_pixels

RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]
ALPHA = RGB[:, :, 1:2]
SIXTEEN = RNG.integers(0, 65536, (9, 13, 4), dtype=np.uint16)
COLOURS = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
Y, X = np.mgrid[0:32, 0:48]
SMOOTH = np.stack([4 * X + 20, 6 * Y + 30, 2 * (X + Y) + 40], axis=2).astype(np.uint8)
INKS = np.concatenate([RGB, ALPHA], axis=2)


def shape(path: Path) -> tuple[int, int]:
    header = read_header(path)
    return header.height, header.width


def tif(values: Array, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, values, **options)
    return out.getvalue()


def grey(bits: int) -> Array:
    return RNG.integers(0, 2**bits, (9, 13)).astype(np.uint16 if bits == 16 else np.uint8)


def cmyk_to_rgb(inks: Array, white: float) -> Array:
    """Convert CMYK to RGB in float64."""
    light = white - inks.astype(np.float64)
    return light[:, :, :3] * light[:, :, 3:] / white


def over_white(colours: Array, alpha: Array, white: float) -> Array:
    opacity = alpha.astype(np.float64) / white
    return colours * opacity + white * (1 - opacity)


G1, G2, G4, G16, I8 = grey(1), grey(2), grey(4), grey(16), GREY % 16
CMYK_JPEG = saved(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=95)
STORED = imagecodecs.jpeg8_decode(CMYK_JPEG).astype(np.float64)  # in Adobe files, 255 is no ink
GAMMA, PROFILE = chunk(b"gAMA", struct.pack(">I", 20000)), chunk(b"sRGB", b"\0")
TRANSPARENT = chunk(b"tRNS", struct.pack(">HHH", *RGB[0, 0].tolist()))
KEYED = np.where((RGB[0, 0] == RGB).all(axis=2, keepdims=True), 0, 255).astype(np.uint8)
PALETTE_CHUNK, TABLE16 = chunk(b"PLTE", COLOURS.tobytes()), (COLOURS.T.astype(np.uint16) * 257)
PALETTE_ALPHA = chunk(b"tRNS", bytes(range(256)))
WEBP, SMOOTH_JPEG = (saved(Image.fromarray(SMOOTH), k, quality=90) for k in ("WEBP", "JPEG"))
JPEG_IN_TIFF = ifds(
    [
        {
            256: ("I", 48),
            257: ("I", 32),
            258: ("H", 8, 8, 8),
            259: ("H", 7),
            262: ("H", 6),
            273: ("I", 8),
            277: ("H", 3),
            278: ("I", 32),
            279: ("I", len(SMOOTH_JPEG)),
            530: ("H", 2, 2),
        }
    ],
    SMOOTH_JPEG,
    "<",
    False,
)
YCC = np.asarray(Image.fromarray(SMOOTH).convert("YCbCr"))
FROM_YCC = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
# name -> (bytes, expected pixels, tolerance in 1/255, mode of the header)
TABLE: dict[str, tuple[bytes, Array, float, str]] = {
    "PNG 1 bit": (png(G1, 1, 0), G1 * 255, 0, "grey"),
    "PNG 2 bits": (png(G2, 2, 0), G2 * 85, 0, "grey"),
    "PNG 4 bits": (png(G4, 4, 0), G4 * 17, 0, "grey"),
    "PNG grey": (png(GREY, 8, 0), GREY, 0, "grey"),
    "PNG grey 16": (png(G16, 16, 0), G16, 0, "grey"),
    "PNG grey 16 interlaced": (png(G16, 16, 0, interlaced=True), G16, 0, "grey"),
    "PNG RGBA 16 interlaced": (png(SIXTEEN, 16, 6, interlaced=True), SIXTEEN, 0, "RGB + alpha"),
    "PNG 2x1 of 16 interlaced": (
        png(SIXTEEN[:1, :2, :3], 16, 2, interlaced=True),
        SIXTEEN[:1, :2, :3],
        0,
        "RGB",
    ),
    "PNG grey+alpha": (png(RGB[:, :, :2], 8, 4), RGB[:, :, :2], 0, "grey + alpha"),
    "PNG grey+alpha 16": (png(SIXTEEN[:, :, :2], 16, 4), SIXTEEN[:, :, :2], 0, "grey + alpha"),
    "PNG RGB": (png(RGB, 8, 2), RGB, 0, "RGB"),
    "PNG RGB 16": (png(SIXTEEN[:, :, :3], 16, 2), SIXTEEN[:, :, :3], 0, "RGB"),
    "PNG RGB gamma": (png(RGB, 8, 2, GAMMA, PROFILE), RGB, 0, "RGB"),
    "PNG RGB 16 gamma": (png(SIXTEEN[:, :, :3], 16, 2, GAMMA), SIXTEEN[:, :, :3], 0, "RGB"),
    "PNG RGB clear colour": (
        png(RGB, 8, 2, TRANSPARENT),
        np.concatenate([RGB, KEYED], axis=2),
        0,
        "RGB + alpha",
    ),
    "PNG 2 bits clear grey": (
        png(G2, 2, 0, chunk(b"tRNS", b"\0\1")),
        np.stack([G2 * 85, np.where(G2 == 1, 0, 255)], axis=2),
        0,
        "grey + alpha",
    ),
    "PNG grey 16 clear grey": (
        png(G16, 16, 0, chunk(b"tRNS", G16[:1, :1].astype(">u2").tobytes())),
        np.stack([G16, np.where(G16[0, 0] == G16, 0, 65535)], axis=2),
        0,
        "grey + alpha",
    ),
    "PNG RGBA": (png(INKS, 8, 6), INKS, 0, "RGB + alpha"),
    "PNG RGBA 16": (png(SIXTEEN, 16, 6), SIXTEEN, 0, "RGB + alpha"),
    "PNG palette": (png(GREY, 8, 3, PALETTE_CHUNK), COLOURS[GREY], 0, "palette"),
    "PNG palette 4 bits": (
        png(G4, 4, 3, chunk(b"PLTE", COLOURS[:16].tobytes())),
        COLOURS[G4],
        0,
        "palette",
    ),
    "PNG palette+alpha": (
        png(GREY, 8, 3, PALETTE_CHUNK, PALETTE_ALPHA),
        np.concatenate([COLOURS[GREY], GREY[:, :, None]], axis=2),
        0,
        "palette + alpha",
    ),
    "JPEG": (SMOOTH_JPEG, imagecodecs.jpeg8_decode(SMOOTH_JPEG), 1, "RGB"),
    "JPEG grey": (
        saved(Image.fromarray(SMOOTH[:, :, 0]), "JPEG", quality=100),
        SMOOTH[:, :, 0],
        1,
        "grey",
    ),
    "JPEG progressive": (
        saved(Image.fromarray(SMOOTH), "JPEG", quality=90, progressive=True),
        imagecodecs.jpeg8_decode(SMOOTH_JPEG),
        1,
        "RGB",
    ),
    "JPEG CMYK of Adobe": (CMYK_JPEG, STORED[:, :, :3] * STORED[:, :, 3:] / 255, 1, "CMYK"),
    "WebP": (WEBP, imagecodecs.webp_decode(WEBP), 1, "RGB"),
    "WebP lossless": (saved(Image.fromarray(RGB), "WEBP", lossless=True), RGB, 0, "RGB"),
    "WebP alpha": (
        saved(Image.fromarray(INKS), "WEBP", lossless=True, exact=True),
        INKS,
        0,
        "RGB + alpha",
    ),
    "BMP": (bmp(RGB, 24), RGB, 0, "RGB"),
    "BMP palette": (bmp(GREY, 8, COLOURS), COLOURS[GREY], 0, "palette"),
    "BMP 1 bit": (bmp(G1, 1, np.array([[0] * 3, [255] * 3])), G1 * 255, 0, "grey"),
    "BMP grey": (bmp(GREY, 8, np.arange(256)[:, None].repeat(3, 1)), GREY, 0, "grey"),
    "GIF": (
        saved(Image.fromarray(RGB).quantize(32), "GIF"),
        np.asarray(Image.fromarray(RGB).quantize(32).convert("RGB")),
        0,
        "palette",
    ),
    "TIFF grey": (tiff(GREY, 1), GREY, 0, "grey"),
    "TIFF WhiteIsZero": (tiff(GREY, 0), 255 - GREY, 0, "grey"),
    "TIFF WhiteIsZero, 16": (tiff(G16, 0), 65535 - G16, 0, "grey"),
    "TIFF big-endian 16": (tiff(G16, 1, ">"), G16, 0, "grey"),
    "TIFF BigTIFF 16": (tiff(G16, 1, ">", big=True), G16, 0, "grey"),
    "TIFF signed 16": (tiff(G16.astype(np.int16), 1), G16.astype(np.int16), 0, "grey"),
    "TIFF float": (tiff(G16 - np.float32(7.25), 1), G16 - np.float32(7.25), 0, "grey"),
    "TIFF float 64": (tiff(G16 / 7, 1), (G16 / 7).astype(np.float32), 0, "grey"),
    "TIFF float 16": (tif(GREY.astype(np.float16)), GREY.astype(np.float32), 0, "grey"),
    "TIFF 32 bits that fit": (
        tiff(G16.astype(np.uint32) * 256, 1),
        G16.astype(np.float32) * 256,
        0,
        "grey",
    ),
    "TIFF RGB": (tiff(RGB, 2), RGB, 0, "RGB"),
    "TIFF RGB 16 tiled LZW": (
        tif(
            np.tile(SIXTEEN[:, :, :3], (3, 3, 1)),
            tile=(16, 16),
            photometric="rgb",
            compression="lzw",
            predictor=True,
        ),
        np.tile(SIXTEEN[:, :, :3], (3, 3, 1)),
        0,
        "RGB",
    ),
    "TIFF RGB in planes": (
        tif(np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate"),
        RGB,
        0,
        "RGB",
    ),
    "TIFF RGBA": (tiff(INKS, 2, t338=("H", 2)), INKS, 0, "RGB + alpha"),
    "TIFF RGB and another channel": (tiff(INKS, 2, t338=("H", 0)), INKS, 0, "4 channels"),
    "TIFF 6 channels": (tiff(np.tile(RGB, 2), 1), np.tile(RGB, 2), 0, "6 channels"),
    "TIFF 5 channels in planes": (
        tif(
            np.moveaxis(np.tile(SIXTEEN, 2)[:, :, :5], 2, 0),
            photometric="minisblack",
            planarconfig="separate",
        ),
        np.tile(SIXTEEN, 2)[:, :, :5],
        0,
        "5 channels",
    ),
    "TIFF palette": (
        tiff(GREY, 3, t320=("H", *TABLE16.reshape(-1).tolist())),
        COLOURS[GREY],
        0,
        "palette",
    ),
    "TIFF CMYK": (tiff(INKS, 5), cmyk_to_rgb(INKS, 255), 1, "CMYK"),
    "TIFF CMYK 16": (tiff(SIXTEEN, 5), cmyk_to_rgb(SIXTEEN, 65535), 1, "CMYK"),
    "TIFF YCbCr": (
        tiff(YCC, 6, t530=("H", 1, 1)),
        (YCC - [0.0, 128, 128]) @ FROM_YCC.T,
        1,
        "YCbCr",
    ),
    "TIFF JPEG": (JPEG_IN_TIFF, imagecodecs.jpeg8_decode(SMOOTH_JPEG), 1, "YCbCr"),
    "TIFF fax": (
        saved(Image.fromarray(G1.astype(bool)), "TIFF", compression="group4"),
        G1 * 255,
        0,
        "grey",
    ),
    "TIFF deflate": (tif(G16, compression="deflate"), G16, 0, "grey"),
    "TIFF Zstandard": (tif(G16, compression="zstd"), G16, 0, "grey"),
    "NPY grey": (npy(G16), G16, 0, "grey"),
    "NPY bool": (npy(G1.astype(bool)), G1 * 255, 0, "grey"),
    "NPY float64, Fortran order": (
        npy(np.asfortranarray(G16 / 3)),
        (G16 / 3).astype(np.float32),
        0,
        "grey",
    ),
    "NPY big-endian 6 channels": (
        npy(np.tile(RGB, 2).astype(">i2")),
        np.tile(RGB, 2).astype(np.int16),
        0,
        "6 channels",
    ),
    "NPY RGB": (npy(RGB), RGB, 0, "RGB"),
    "PBM": (netpbm(G1, 4), (1 - G1) * 255, 0, "grey"),
    "PBM as text": (netpbm(G1, 1), (1 - G1) * 255, 0, "grey"),
    "PBM as text without spaces": (
        netpbm(G1, 1)[:9] + netpbm(G1, 1)[9:].replace(b" ", b""),
        (1 - G1) * 255,
        0,
        "grey",
    ),
    "PGM": (netpbm(GREY, 5), GREY, 0, "grey"),
    "PGM 16": (netpbm(G16, 5, 65535, b"# 12 34 a comment\n"), G16, 0, "grey"),
    "PGM 12 bits": (netpbm(G16 >> 4, 5, 4095), G16 >> 4, 0, "grey"),
    "PGM 16 as text": (netpbm(G16, 2, 65535, b"#\n#x\n"), G16, 0, "grey"),
    "PGM of 16 values": (netpbm(G4, 5, 15), G4, 0, "grey"),
    "PPM": (netpbm(RGB, 6), RGB, 0, "RGB"),
    "PPM 16": (netpbm(SIXTEEN[:, :, :3], 6, 65535), SIXTEEN[:, :, :3], 0, "RGB"),
    "PPM as text": (netpbm(RGB, 3), RGB, 0, "RGB"),
    "PPM of Pillow": (saved(Image.fromarray(RGB), "PPM"), RGB, 0, "RGB"),
    "JP2 of Pillow": (saved(Image.fromarray(RGB), "JPEG2000"), RGB, 0, "RGB"),
    "JP2 of Pillow, in tiles": (
        saved(Image.fromarray(SMOOTH), "JPEG2000", tile_size=(16, 8)),
        SMOOTH,
        0,
        "RGB",
    ),
    "JP2 grey of Pillow": (saved(Image.fromarray(GREY), "JPEG2000"), GREY, 0, "grey"),
    "JP2 lossy": (saved(Image.fromarray(SMOOTH), "JPEG2000", irreversible=True), SMOOTH, 3, "RGB"),
    "JP2 RGBA": (saved(Image.fromarray(INKS), "JPEG2000"), INKS, 0, "RGB + alpha"),
    "JP2 grey+alpha": (
        saved(Image.fromarray(RGB[:, :, :2]), "JPEG2000"),
        RGB[:, :, :2],
        0,
        "grey + alpha",
    ),
    "JP2 grey 16": (saved(Image.fromarray(G16), "JPEG2000"), G16, 0, "grey"),
    "JP2 RGB 16": (jp2(SIXTEEN[:, :, :3]), SIXTEEN[:, :, :3], 0, "RGB"),
    "JP2 RGB 12": (jp2(SIXTEEN[:, :, :3] >> 4, 12), SIXTEEN[:, :, :3] >> 4, 0, "RGB"),
    "JP2 signed 16": (jp2(G16.astype(np.int16)), G16.astype(np.int16), 0, "grey"),
    "JP2 RGB and another channel": (jp2(SIXTEEN), SIXTEEN, 0, "4 channels"),
    "JP2 6 channels": (
        jp2(np.tile(SIXTEEN[:, :, :3], 2)),
        np.tile(SIXTEEN[:, :, :3], 2),
        0,
        "6 channels",
    ),
    "JP2 with a profile": (
        with_box(jp2(SIXTEEN[:, :, :3]), b"colr", b"\2\0\0" + bytes(300)),
        SIXTEEN[:, :, :3],
        0,
        "RGB",
    ),
    "JPEG 2000 codestream": (jp2(RGB, form="j2k"), RGB, 0, "RGB"),
    "JPEG 2000 codestream 16": (jp2(G16, form="j2k"), G16, 0, "grey"),
    "JPEG 2000 codestream of Pillow": (
        saved(Image.fromarray(RGB), "JPEG2000", no_jp2=True),
        RGB,
        0,
        "RGB",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_pixels_and_header_of_each_mode(tmp_path: Path, name: str) -> None:
    data, expected, tolerance, mode = TABLE[name]
    path = tmp_path / "x.dat"  # the contents decide, not the extension
    path.write_bytes(data)
    pixels, header, _ = decode(data, path)
    expected = expected[:, :, None] if expected.ndim == 2 else expected
    assert pixels.shape == expected.shape and pixels.flags.c_contiguous
    assert pixels.dtype.name in ("uint8", "uint16", "int16", "float32")
    unit = np.iinfo(pixels.dtype).max / 255 if pixels.dtype.kind in "iu" else 1
    difference = np.abs(pixels.astype(np.float64) - expected.astype(np.float64)).max()
    assert difference <= tolerance * unit
    assert header == read_header(path) and header.mode == mode and header.pages == 1
    assert (header.height, header.width, header.channels) == pixels.shape
    assert header.alpha == mode.endswith("alpha")
    assert np.array_equal(read(path), pixels) and shape(path) == pixels.shape[:2]


PAIR = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
MORE: dict[str, Any] = {"save_all": True, "append_images": PAIR[1:]}
NOISY_JPEG = saved(Image.fromarray(np.tile(RGB, (9, 9, 1))), "JPEG")
COMPLEX = np.zeros((4, 4), np.complex64)
JP2 = saved(Image.fromarray(RGB), "JPEG2000")
SIZ = JP2.index(b"\xff\x51") + 2  # its length, 36 bytes, then 3 bytes of each channel
ENUMERATED = boxes(JP2)[b"colr"][1] - 4


def changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


# name -> (bytes, part of the error message)
REFUSED: dict[str, tuple[bytes, str]] = {
    "Lab TIFF": (saved(Image.new("LAB", (4, 4)), "TIFF"), "cielab"),
    "complex TIFF": (tif(COMPLEX), "complex64 values"),
    "complex NPY": (npy(COMPLEX), "complex64 values"),
    "objects": (npy(np.array([[{}]], dtype=object)), "object values"),
    "strings": (npy(np.array([["a"]])), "values, not real numbers"),
    "NaN": (npy(np.array([[np.nan, 1], [np.inf, 2]])), "contains 2 non-finite values"),
    "too large for float32": (npy(np.array([[1e300]])), "contains 1 non-finite values"),
    "too fine for float32": (npy(np.array([[5, 2**24 + 1]])), "int64 value 16777217"),
    "far too large": (tiff(np.full((2, 2), 2**32 - 1, np.uint32), 1), "uint32 value 4294967295"),
    "channels first": (npy(np.zeros((4, 64, 64))), r"looks like \(channels, .*\(64, 64, 4\)"),
    "one dimension": (npy(np.zeros(7)), r"shape \(7,\), not \(height, width, channels\)"),
    "no pixels": (npy(np.zeros((0, 7))), "has no pixels"),
    "animated GIF": (saved(PAIR[0], "GIF", **MORE), "has 2 pages or frames.*domain's pages"),
    "animated WebP": (saved(PAIR[0], "WEBP", **MORE), "has 2 pages or frames"),
    "animated PNG": (saved(PAIR[0], "PNG", **MORE), "has 2 pages or frames"),
    "TIFF of pages": (
        tif(np.stack([GREY] * 3), photometric="minisblack"),
        "one image of 9x3 with 13 channels or 3 pages of 13x9",
    ),
    "ImageJ stack": (
        tif(np.stack([GREY] * 3), imagej=True, truncate=True),
        "a stack in a single page",
    ),
    "JPEG of 12 bits": (imagecodecs.jpeg8_encode(G16 >> 4, bitspersample=12), "JPEG of 12 bits"),
    "lossless JPEG": (imagecodecs.ljpeg_encode(G16), "lossless"),
    "JPEG 2000 in TIFF": (tif(RGB, compression="jpeg2000", photometric="rgb"), "jpeg2000"),
    "AVIF": (saved(PAIR[0], "AVIF"), "is not an image in a supported format"),
    "JP2 in YCbCr": (changed(JP2, ENUMERATED, b"\0\0\0\x12"), "a colour space other than RGB"),
    "JP2 in CMYK": (changed(JP2, ENUMERATED, b"\0\0\0\x0c"), "a colour space other than RGB"),
    "JP2 with a palette": (with_box(JP2, b"pclr", bytes(9)), "with a palette"),
    "JP2 in blue, green, red": (
        with_box(JP2, b"cdef", struct.pack(">10H", 3, 0, 0, 3, 1, 0, 2, 2, 0, 1)),
        "channels in another order",
    ),
    "JP2 multiplied by its alpha": (
        with_box(JP2, b"cdef", struct.pack(">10H", 3, 0, 0, 1, 1, 0, 2, 2, 2, 0)),
        "neither colours nor transparency",
    ),
    "JP2 of two images": (JP2 + JP2[boxes(JP2)[b"jp2c"][0] :], "of 2 images"),
    "JP2 with smaller colours": (changed(JP2, SIZ + 42, b"\2\2"), "differ in bits or size"),
    "JP2 of cmyk_to_rgb bits": (changed(JP2, SIZ + 41, b"\x0b"), "differ in bits or size"),
    "JP2 of 20 bits": (jp2(G16.astype(np.uint32) * 16, 20), "JPEG 2000 of 20 bits"),
    "JP2 of no codestream": (JP2[: boxes(JP2)[b"jp2c"][0]], "of 0 images"),
    "a JP2's first bytes": (JP2[:12], "of 0 images"),
    "a codestream's first bytes": (b"\xff\x4f\xff\x51", "its codestream has no size"),
    "half a JP2": (JP2[: len(JP2) // 2], "is damaged or cannot be read"),
    "JP2 without its end": (JP2[:-2], "is damaged or cannot be read"),
    "codestream without its end": (jp2(SIXTEEN, form="j2k")[:-9], "is damaged or cannot be read"),
    "JP2 in tiles, truncated": (
        saved(Image.fromarray(SMOOTH), "JPEG2000", tile_size=(16, 8))[:-40],
        "is damaged or cannot be read",
    ),
    "half a PPM": (netpbm(RGB, 6)[:-100], "ends too early"),
    "half a PBM": (netpbm(G1, 4)[:-3], "ends too early"),
    "half a PPM as text": (netpbm(RGB, 3)[:-100], "too few numbers"),
    "PGM as text with a word": (netpbm(GREY, 2) + b" x", "other text"),
    "PGM as text with -1": (netpbm(GREY, 2).replace(b" ", b" -", 3), "other text|header"),
    "PGM over_white its maxval": (netpbm(np.full((3, 3), 200), 5, 100), "above its maxval"),
    "PGM 16 over_white its maxval": (netpbm(np.full((3, 3), 5000), 5, 4095), "above its maxval"),
    "PGM as text over_white its maxval": (netpbm(np.full((3, 3), 9**9), 2, 99), "above its maxval"),
    "PBM as text with 2": (netpbm(np.full((3, 3), 2), 1), "above its maxval"),
    "PGM of maxval 0": (netpbm(GREY, 5, 0), "maxval is 0"),
    "PGM of maxval 70000": (netpbm(GREY, 5, 70000), "maxval is 70000"),
    "PGM without a size": (b"P5\n# none\n", "its header is invalid"),
    "PGM of no pixels": (netpbm(GREY[:0], 5), "has no pixels"),
    "two PGMs": (netpbm(GREY, 5) * 2, "has 2 pages or frames"),
    "PAM": (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 1\nENDHDR\n\0", "is not an image"),
    "PFM": (b"Pf\n1 1\n-1\n\0\0\0\0", "is not an image in a supported format"),
    "text like a PGM": (b"P5, P6 and P7 were measured", "is not an image in a supported format"),
    "DICOM": (bytes(128) + b"DICM" + bytes(50), "is not an image in a supported format"),
    "EPS": (saved(PAIR[0], "EPS"), "is not an image in a supported format"),
    "5 inks": (tiff(np.tile(RGB, 2)[:, :, :5], 5), "CMYK in 5 channels"),
    "text": (b"just text\n", "is not an image in a supported format"),
    "empty file": (b"", "is not an image in a supported format"),
    "a PNG's first bytes": (b"\x89PNG\r\n\x1a\n", "is damaged or cannot be read"),
    "a GIF's first bytes": (b"GIF89a", "is damaged|has no pixels"),
    "half a JPEG": (NOISY_JPEG[: len(NOISY_JPEG) // 2], "is damaged or cannot be read"),
    "half a PNG of 16": (png(SIXTEEN, 16, 6)[:-200], "is damaged or cannot be read"),
    "half a PNG": (png(RGB, 8, 2)[:-100], "is damaged or cannot be read"),
    "half a BMP": (bmp(RGB, 24)[:-100], "is damaged or cannot be read"),
    "half an NPY": (npy(RGB)[:-100], "is damaged or cannot be read"),
    "half a WebP": (WEBP[: len(WEBP) // 2], "is damaged or cannot be read"),
    "half a TIFF": (
        tif(SIXTEEN[:, :, :3], photometric="rgb")[:-100],
        "is damaged or cannot be read",
    ),
    "PNG without its end": (png(RGB, 8, 2)[:-12], "ends too early"),
    "TIFF without its second page": (
        ifds([{256: ("I", 1), 257: ("I", 1)}] * 2, b"", "<", False)[:-9],
        "chain of pages is broken",
    ),
    "TIFF with its next page nowhere": (
        tiff(GREY, 1)[:-4] + b"\xff\xff\0\0",
        "chain of pages is broken",
    ),
    "TIFF without a strip": (tiff(GREY, 1, t273=("I", 0)), "missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_and_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    data, reason = REFUSED[name]
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"x\.png .*({reason})") as caught:
        read(path)
    assert "\n" not in str(caught.value) and caught.value.__cause__ is None
    assert caught.value.path == path


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for name in ("nowhere.png", "folder.png"):
        for reader in (read, read_header):
            with pytest.raises(UserError, match=rf"there is no file .*{name}"):
                reader(tmp_path / name)


READ_ALL = """
import contextlib, sys
from pathlib import Path
import imagecodecs
from viceversa.images import read
for path in Path(sys.argv[1]).iterdir():
    with contextlib.suppress(ValueError):
        (read if sys.argv[2] == "read" else lambda p: imagecodecs.png_decode(p.read_bytes()))(path)
"""


@pytest.mark.slow
def test_no_decoder_writes_to_the_terminal(tmp_path: Path) -> None:
    """C libraries may write to file descriptors. Negative control: libpng, called directly."""
    for number, (data, *_) in enumerate([*TABLE.values(), *REFUSED.values()]):
        (tmp_path / str(number)).write_bytes(data)
    (tmp_path / "only").mkdir()
    (tmp_path / "only/x").write_bytes(TABLE["PNG grey 16 interlaced"][0])
    results = [
        subprocess.run(
            [sys.executable, "-c", READ_ALL, where, how], capture_output=True, check=True
        )
        for where, how in ((tmp_path, "read"), (tmp_path / "only", "libpng"))
    ]
    assert results[0].stdout + results[0].stderr == b""
    assert b"PNG warning" in results[1].stdout + results[1].stderr


@pytest.mark.parametrize(
    "name",
    [
        "PNG RGB 16",
        "JPEG",
        "GIF",
        "BMP",
        "NPY RGB",
        "TIFF RGB",
        "PPM 16",
        "JP2 RGB 16",
    ],
)
def test_header_is_read_without_decoding(tmp_path: Path, name: str) -> None:
    data = TABLE[name][0]
    path = tmp_path / "x"
    path.write_bytes(data)
    header = read_header(path)
    if name in (
        "PNG RGB 16",
        "JPEG",
        "BMP",
        "NPY RGB",
        "PPM 16",
        "JP2 RGB 16",
    ):  # the other formats need the end of the file
        path.write_bytes(data[: len(data) * 3 // 4])
        assert read_header(path) == header
        with pytest.raises(UserError, match="is damaged"):
            read(path)


def test_images_in_an_archive_are_read_in_place(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/1.png", png(SIXTEEN, 16, 6))
        archive.writestr("a/2\n.png", b"text")
    source = Source(tmp_path / "x.zip", "a/1.png")
    assert np.array_equal(read(source), SIXTEEN) and read_header(source).dtype == "uint16"
    with pytest.raises(UserError, match=r"x\.zip/a/2\\n\.png is not an image"):
        read(Source(tmp_path / "x.zip", "a/2\n.png"))
    with pytest.raises(UserError, match=r"x\.zip/b\.png cannot be read from its archive"):
        read_header(Source(tmp_path / "x.zip", "b.png"))


def test_header_of_a_huge_file_is_checked_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        file.write(npy(np.zeros((9, 9))).replace(b"(9, 9)", b"(99999, 99999)")[:128])
        file.truncate(99999 * 99999 * 8)  # a sparse file of 80 GB
    with pytest.raises(UserError, match=r"x\.npy is 99999x99999"):
        read(path)


# -- negative controls: Pillow without our checks


def test_negative_control_pillow_changes_pixels_silently() -> None:
    """`convert("RGB")` clips and drops transparency, `verify` accepts damaged files."""
    with Image.open(io.BytesIO(png(G16, 16, 0))) as image:
        assert (np.asarray(image.convert("RGB")) == 255).mean() > 0.95
    with Image.open(io.BytesIO(png(SIXTEEN[:, :, :3], 16, 2))) as image:
        assert np.asarray(image).dtype == np.uint8
    with Image.open(io.BytesIO(tiff(np.full((4, 4), 0.5, np.float32), 1))) as image:
        assert not np.asarray(image.convert("L")).any()
    hidden = np.array([[[255, 0, 0, 0]]], np.uint8)
    assert np.asarray(Image.fromarray(hidden).convert("RGB")).tolist() == [[[255, 0, 0]]]
    assert fit_channels(hidden, True, 3, "x").tolist() == [[[255, 255, 255]]]
    with Image.open(io.BytesIO(REFUSED["half a JPEG"][0])) as image:
        image.verify()
    with Image.open(io.BytesIO(REFUSED["EPS"][0])) as image:
        assert image.format == "EPS"
    with Image.open(io.BytesIO(TABLE["PNG 2 bits clear grey"][0])) as image:
        assert not np.array_equal(
            np.asarray(image.convert("LA")), TABLE["PNG 2 bits clear grey"][1]
        )


def test_negative_control_pillow_reads_16_bit_ppm_and_jp2_as_8_bits() -> None:
    """Control of the rows of PPM and JPEG 2000 in the table."""
    for data in (netpbm(SIXTEEN[:, :, :3], 6, 65535), jp2(SIXTEEN[:, :, :3])):
        with Image.open(io.BytesIO(data)) as image:
            assert np.asarray(image).dtype == np.uint8


# -- orientation

STORED_AS: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def exif(orientation: int, order: str = "<") -> bytes:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + struct.pack(order + "HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_give_the_same_pixels(tmp_path: Path, orientation: int) -> None:
    stored = np.ascontiguousarray(STORED_AS[orientation](SMOOTH))
    image, block = Image.fromarray(stored), exif(orientation, "<>"[orientation % 2])
    lossy = {"quality": 100, "subsampling": 0, "exif": b"Exif\0\0" + block}
    upright = saved(Image.fromarray(SMOOTH), "JPEG", quality=100, subsampling=0)
    files: list[tuple[bytes, Array, int]] = [
        (png(stored, 8, 2, chunk(b"eXIf", block)), SMOOTH, 0),
        (png(stored, 8, 2)[:-12] + chunk(b"eXIf", block) + chunk(b"IEND", b""), SMOOTH, 0),
        (saved(image, "WEBP", lossless=True, exif=block), SMOOTH, 0),
        (tiff(stored, 2, t274=("H", orientation)), SMOOTH, 0),
        (saved(image, "JPEG", **lossy), imagecodecs.jpeg8_decode(upright), 2),
    ]
    path = tmp_path / "x"
    for data, expected, tolerance in files:
        path.write_bytes(data)
        pixels = read(path).astype(int)
        assert shape(path) == pixels.shape[:2] == (32, 48)
        assert np.abs(pixels - expected.astype(int)).max() <= tolerance
        with Image.open(path) as opened:  # negative control: Pillow does not rotate
            raw = np.asarray(opened)
            same = raw.shape == SMOOTH.shape and np.allclose(raw, SMOOTH, atol=4)
            # Pillow rotates only TIFF files by itself.
            assert same == (orientation == 1 or opened.format == "TIFF")


def test_damaged_exif_blocks_are_ignored() -> None:
    for block in (b"", b"II", exif(6)[:12], exif(99), b"\xff" * 40):
        data = saved(Image.fromarray(SMOOTH), "JPEG", exif=b"Exif\0\0" + block)
        assert decode(data, "x")[0].shape == SMOOTH.shape


# -- pages and class indices


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_pages_are_selected_or_joined_as_channels(kind: str) -> None:
    lossless = {"lossless": True} if kind == "WEBP" else {}
    first = Image.fromarray(RGB).quantize(16).convert("RGB")
    second = Image.fromarray(255 - RGB).quantize(16).convert("RGB")
    data = saved(first, kind, save_all=True, append_images=[second], **lossless)
    for number, image in enumerate((first, second)):
        pixels, header, _ = decode(data, "x", 3, pages=str(number))
        assert np.array_equal(pixels, image) and header.pages == 2
    pixels, header, _ = decode(data, "x", pages="bands")
    each = header.channels // 2
    assert np.array_equal(pixels[:, :, each : each + 3], second) and not header.alpha
    with pytest.raises(UserError, match="x has no page 2: it has 2, counted from 0"):
        decode(data, "x", pages="2")
    with pytest.raises(UserError, match="pages must be refuse, bands or an index"):
        decode(data, "x", pages="all")


def test_apng_with_a_default_image_has_it_as_a_page() -> None:
    data = saved(PAIR[0], "PNG", default_image=True, **MORE)
    for number, image in enumerate(PAIR):
        assert np.array_equal(decode(data, "x", pages=str(number))[0], image)


def test_thumbnails_are_not_pages_and_pages_of_other_sizes_are_not_channels() -> None:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(SMOOTH, photometric="rgb", subifds=1)
        writer.write(SMOOTH[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(SMOOTH[::4, ::4], photometric="rgb", subfiletype=1)
    assert np.array_equal(decode(out.getvalue(), "x")[0], SMOOTH)
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(SMOOTH, photometric="rgb")
        writer.write(SMOOTH[::2, ::2], photometric="rgb")
    with pytest.raises(UserError, match=r"x has pages of different types.*page 1 24x16 RGB"):
        decode(out.getvalue(), "x", pages="bands")
    assert np.array_equal(decode(out.getvalue(), "x", pages="1")[0], SMOOTH[::2, ::2])


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        (png(GREY, 8, 3, PALETTE_CHUNK, PALETTE_ALPHA), GREY),
        (png(G2, 2, 0), G2),
        (png(G1, 1, 0), G1),
        (png(G16, 16, 0), G16),
        (bmp(I8, 8, COLOURS), I8),
        (npy(G1.astype(bool)), G1),
        (tiff(GREY, 3, t320=("H", *TABLE16.reshape(-1).tolist())), GREY),
        (npy(I8), I8),
        (saved(Image.fromarray(I8), "PNG"), I8),
    ],
)
def test_class_indices_are_the_stored_values(data: bytes, numbers: Array) -> None:
    pixels = decode(data, "x", 1, indices=True).pixels
    assert np.array_equal(pixels[:, :, 0], numbers)


@pytest.mark.parametrize(
    "name",
    [
        "PNG RGB",
        "PNG RGB 16",
        "JPEG",
        "TIFF RGB",
        "NPY RGB",
        "WebP",
        "BMP",
        "TIFF WhiteIsZero",
        "PNG grey+alpha",
    ],
)
def test_class_indices_need_one_channel_or_a_palette(name: str) -> None:
    with pytest.raises(
        UserError, match=r"x .*(class indices need one channel or a palette|0 as white)"
    ):
        decode(TABLE[name][0], "x", indices=True)


# -- numbers of channels of a domain


def test_rgb_is_converted_to_luminance_in_any_dtype() -> None:
    expected = np.asarray(Image.fromarray(RGB).convert("L"))
    assert np.array_equal(fit_channels(RGB, False, 1, "x")[:, :, 0], expected)
    weights = np.array([19595, 38470, 7471]) / 65536
    for values in (
        SIXTEEN[:, :, :3],
        (SIXTEEN[:, :, :3] // 2).astype(np.int16) - 999,
        SIXTEEN[:, :, :3].astype(np.float32),
    ):
        grey = fit_channels(values, False, 1, "x")
        assert grey.dtype == values.dtype
        assert np.abs(grey[:, :, 0] - values.astype(np.float64) @ weights).max() <= 0.51
    white = np.full((1, 1, 3), 65535, np.uint16)
    assert fit_channels(white, False, 1, "x").item() == 65535


def test_transparency_is_blended_over_white() -> None:
    for colours, alpha, white in ((RGB, ALPHA, 255), (SIXTEEN[:, :, :3], SIXTEEN[:, :, 3:], 65535)):
        both = np.concatenate([colours, alpha], axis=2)
        expected = over_white(colours, alpha, white)
        assert np.abs(fit_channels(both, True, 3, "x") - expected).max() <= 0.51
        greys = np.concatenate([colours[:, :, :1], alpha], axis=2)
        assert np.abs(fit_channels(greys, True, 3, "x") - expected[:, :, :1]).max() <= 0.51
        assert np.array_equal(fit_channels(both, True, 4, "x"), both)
    with pytest.raises(UserError, match="x has 4 channels, not 3; set the domain's channels to 4"):
        fit_channels(INKS, False, 3, "x")
    with pytest.raises(UserError, match="x has transparency in float32 values"):
        fit_channels(INKS.astype(np.float32), True, 3, "x")


def test_premultiplied_colours_are_divided_by_alpha() -> None:
    alpha = np.array([[[255], [51], [0]]], np.uint8)
    stored = np.concatenate([np.array([[[9, 99, 255], [0, 51, 20], [0] * 3]], np.uint8), alpha], 2)
    pixels, header, _ = decode(tiff(stored, 2, t338=("H", 1)), "x")
    assert pixels.tolist() == [[[9, 99, 255, 255], [0, 255, 100, 51], [0, 0, 0, 0]]]
    assert header.alpha


@pytest.mark.parametrize(("channels", "wanted"), [(1, 4), (3, 4), (6, 3), (2, 1), (6, 1), (3, 2)])
def test_other_numbers_of_channels_are_refused(channels: int, wanted: int) -> None:
    pixels = np.zeros((2, 2, channels), np.uint16)
    with pytest.raises(
        UserError, match=f"x has {channels} channels?, not {wanted}; .* to {channels}"
    ):
        fit_channels(pixels, False, wanted, "x")


def test_pillow_images_follow_the_same_rules() -> None:
    def pixels_of(image: Image.Image, channels: int = 3) -> Pixels:
        return to_domain_pixels(image, DomainConfig(channels=channels), MAX_PIXELS)

    assert np.array_equal(pixels_of(Image.fromarray(G16), 1)[:, :, 0], G16)
    assert np.array_equal(pixels_of(Image.fromarray(GREY)), GREY[:, :, None].repeat(3, 2))
    assert np.array_equal(pixels_of(Image.fromarray(INKS), 4), INKS)
    transparent = Image.fromarray(RGB)
    transparent.info["transparency"] = tuple(RGB[0, 0].tolist())
    assert pixels_of(transparent)[0, 0].tolist() == [255, 255, 255]
    with pytest.raises(UserError, match="the image has the mode HSV of Pillow"):
        pixels_of(Image.new("HSV", (2, 2)))
    assert zlib.crc32(pixels_of(Image.fromarray(RGB)).tobytes()) == zlib.crc32(RGB.tobytes())


@pytest.mark.parametrize("pad", range(0, 12, 5))
def test_pages_of_a_netpbm_file_of_many_blocks(pad: int, tmp_path: Path) -> None:
    """Headers are read in blocks; images of several sizes start at all positions in them."""
    rng = np.random.default_rng(pad)
    parts: list[bytes] = []
    values: list[tuple[int, int]] = []
    for number in range(3000):
        width = int(rng.integers(1, 60)) if number % 500 else 70_000  # longer than a block
        value = number % 251
        comment = b"#" + b"c" * (pad + number % 7) + b"\n"
        parts.append(b"P5\n" + comment + f"{width} 1 255\n".encode() + bytes([value]) * width)
        values.append((width, value))
    path = tmp_path / "many.pgm"
    path.write_bytes(b"".join(parts))
    with path.open("rb") as file:
        opened = open_netpbm(file)
        assert opened.pages == len(values)
        for page in range(0, len(values), 37):
            pixels = opened.pixels(page, False)
            width, value = values[page]
            assert pixels.shape == (1, width, 1) and (pixels == value).all()
