"""Test hostile files (too large, endless, mutated): refused quickly and in little memory."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from encoders import bmp, chunk, ifds, jp2, netpbm, npy, png, saved, tiff
from PIL import Image

from viceversa.errors import UserError
from viceversa.images import decode, read_header
from viceversa.images.header import MAX_PAGES

RGB = np.random.default_rng(8).integers(0, 256, (24, 20, 3), dtype=np.uint8)
IMAGE = Image.fromarray(RGB)


def zeros(count: int) -> bytes:
    """Return compressed zero bytes, without allocating them."""
    packer, block = zlib.compressobj(9), bytes(2**20)
    parts = [packer.compress(block) for _ in range(count >> 20)]
    return b"".join([*parts, packer.compress(bytes(count & 2**20 - 1)), packer.flush()])


def png_of(width: int, height: int, data: bytes, bits: int = 8, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *extra,
            chunk(b"IDAT", data),
            chunk(b"IEND", b""),
        ]
    )


def tiff_of(width: int, height: int, data: bytes, **tags: tuple[object, ...]) -> bytes:
    entries = {
        256: ("I", width),
        257: ("I", height),
        258: ("H", 8),
        259: ("H", 8),
        262: ("H", 1),
        273: ("I", 8),
        277: ("H", 1),
        278: ("I", height),
        279: ("I", len(data)),
        **{int(name[1:]): value for name, value in tags.items()},
    }
    return ifds([{k: v for k, v in entries.items() if v}], data, "<", False)


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def endless() -> bytes:
    """Return a TIFF whose second page is followed by its first."""
    page = {256: ("I", 1), 257: ("I", 1)}
    data = ifds([page, page], b"", "<", False)
    first = struct.unpack("<I", data[4:8])[0]
    return data[:-4] + struct.pack("<I", first)


def bombs() -> dict[str, tuple[bytes, str]]:
    """Return bytes and a part of the error message by name."""
    jpeg = saved(IMAGE, "JPEG")
    frame = jpeg.index(b"\xff\xc0") + 5
    head = struct.pack("<HHBBB", 1, 1, 0, 0, 0)
    dot = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    webp, hundred = saved(IMAGE, "WEBP"), zeros(100 * 2**20)
    vp8x = struct.pack("<4sIB3x", b"VP8X", 10, 0) + b"\xff\x3f\0" * 2
    jp2k, codestream = jp2(RGB[:, :, 0]), jp2(RGB, form="j2k")
    siz = jp2k.index(b"\xff\x51") + 2
    page = {256: ("I", 1), 257: ("I", 1)}
    too_many_pages = f"has more than {MAX_PAGES}"
    too_large = "megapixels are more than"
    tile = {
        "t322": ("I", 60000),
        "t323": ("I", 60000),
        "t324": ("I", 8),
        "t273": (),
        "t279": (),
        "t278": (),
        "t325": ("I", len(hundred)),
    }
    return {
        "PNG": (png_of(13000, 13000, zeros(13000 * 13001)), too_large),
        "PNG of 16 bits": (png_of(13000, 13000, hundred, 16), too_large),
        "PNG of 2^31": (png_of(2**31 - 1, 2**31 - 1, b""), too_large),
        "TIFF": (tiff_of(20000, 20000, hundred), too_large),
        "TIFF of 60000 channels": (
            tiff_of(8000, 8000, hundred, t277=("H", 60000)),
            "60000 channels",
        ),
        "TIFF tile": (tiff_of(10, 10, hundred, **tile), "far larger than its image"),
        "TIFF without end": (endless(), too_many_pages),
        "TIFF of 100,000 pages": (ifds([page] * 100_000, b"", "<", False), too_many_pages),
        "JPEG": (patched(jpeg, frame, struct.pack(">HH", 65000, 65000)), too_large),
        "GIF": (patched(saved(IMAGE, "GIF"), 6, struct.pack("<HH", 65535, 65535)), too_large),
        "GIF of a large frame": (
            b"GIF89a" + head + patched(dot, 5, struct.pack("<HH", 65535, 65535)) + b";",
            "a frame is larger",
        ),
        "GIF of 100,000 frames": (b"GIF89a" + head + dot * 100_000 + b";", too_many_pages),
        "WebP": (webp[:12] + vp8x + webp[12:], "exceeds limit"),
        "BMP": (patched(bmp(RGB, 24), 18, struct.pack("<ii", 30000, 30000)), too_large),
        "BMP, top down": (patched(bmp(RGB, 24), 18, struct.pack("<ii", 30000, -30000)), too_large),
        "PPM": (b"P6 30000 30000 255\n", too_large),
        "PPM of text": (b"P3 30000 30000 255\n" + b"0 " * 1000, too_large),
        "PBM": (b"P4 30000 30000\n", too_large),
        "PGM of 100,000 images": (b"P5 1 1 255\n\0" * 100_000, too_many_pages),
        "JP2": (patched(jp2k, siz + 4, struct.pack(">II", 30000, 30000)), "1875000 tiles"),
        "JP2 of 2^32": (patched(jp2k, siz + 4, b"\xff" * 8), "tiles"),
        "JP2 of 16384 channels": (patched(jp2k, siz + 36, b"\x40\0"), "ends too early"),
        "JP2 of many tiles": (
            patched(
                patched(jp2k, siz + 4, struct.pack(">II", 8000, 8000)),
                siz + 20,
                struct.pack(">II", 1, 1),
            ),
            "64000000 tiles",
        ),
        "codestream": (patched(codestream, 8, struct.pack(">II", 30000, 30000)), "1875000 tiles"),
        "NPY": (npy(np.zeros((9, 9))).replace(b"(9, 9)", b"(99999, 99999)"), too_large),
    }


MEASURE = """
import json, resource, sys, time
from pathlib import Path
from viceversa.errors import UserError
from viceversa.images import decode, read_header
from viceversa.images.header import MAX_PAGES
import tifffile
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
results = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    for reader in (lambda p: decode(p.read_bytes(), p), read_header):
        size, seconds, text = peak(), [], ""
        for _ in range(3):  # the minimum: other processes disturb the processor caches
            start = time.process_time()
            try: reader(path)
            except UserError as error: text = str(error)
            seconds.append(time.process_time() - start)
        results.setdefault(path.name, []).append([text, min(seconds), peak() - size])
print(json.dumps(results))
"""


@pytest.mark.slow
def test_bombs_are_refused_from_the_header(tmp_path: Path) -> None:
    """Processor time and memory are measured in a separate process."""
    files = bombs()
    for name, (data, _) in files.items():
        (tmp_path / name).write_bytes(data)
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    results = json.loads(run.stdout)
    assert run.stderr == "" and results.keys() == files.keys()
    for name, readers in results.items():
        for text, seconds, megabytes in readers:
            if text or name != "TIFF tile":  # the header does not contain the tile size
                assert str(tmp_path / name) in text and files[name][1] in text
            assert seconds < 0.1 and megabytes < 50, (name, seconds, megabytes)


PLAIN = """
import resource, sys
from PIL import Image
Image.open(sys.argv[1]).convert("RGB")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_negative_control_pillow_decodes_a_bomb(tmp_path: Path) -> None:
    """9000x9000 pixels in 80 kB, without a warning of Pillow."""
    data = png_of(9000, 9000, zeros(9000 * 9001))
    (tmp_path / "x.png").write_bytes(data)
    run = subprocess.run(
        [sys.executable, "-c", PLAIN, str(tmp_path / "x.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(data) < 100_000 and float(run.stdout) > 250
    with pytest.raises(UserError, match=r"9000x9000: 81 megapixels are more than the limit of 64"):
        read_header(tmp_path / "x.png")


def test_compressed_texts_and_profiles_are_not_decompressed() -> None:
    """The image is read without them."""
    text = chunk(b"zTXt", b"word\0\0" + zeros(100 * 2**20))
    profile = chunk(b"iCCP", b"word\0\0" + zeros(100 * 2**20))
    data = png_of(1, 1, zlib.compress(b"\0\7"), 8, *[text, profile] * 20)
    start = time.process_time()
    assert decode(data, "x")[0].tolist() == [[[7]]]
    assert time.process_time() - start < 0.1
    with pytest.raises((ValueError, SyntaxError)):  # negative control
        Image.open(io.BytesIO(data)).load()


def test_strip_larger_than_declared_is_not_decompressed_completely() -> None:
    data = tiff_of(10, 10, zeros(100 * 2**20))
    start = time.process_time()
    try:
        assert decode(data, "x")[0].shape == (10, 10, 1)
    except UserError as error:
        assert "x is damaged" in str(error)
    assert time.process_time() - start < 0.1


def test_jpeg_in_a_tiff_larger_than_its_strip_is_refused() -> None:
    jpeg = imagecodecs.jpeg8_encode(np.zeros((4000, 4000), np.uint8))
    with pytest.raises(UserError, match=r"x is damaged.*a tile is larger than declared"):
        decode(tiff_of(16, 16, jpeg, t259=("H", 7)), "x")


def test_limit_of_pixels_is_an_option() -> None:
    data = png(RGB, 8, 2)
    assert decode(data, "x", max_pixels=480)[0].shape == (24, 20, 3)
    with pytest.raises(UserError, match="x is 20x24"):
        decode(data, "x", max_pixels=479)


# -- mutations


def seeds() -> list[bytes]:
    """Return small valid files of every format and most of their modes."""
    palette = IMAGE.quantize(16)
    more = {"save_all": True, "append_images": [Image.fromarray(255 - RGB)]}
    sixteen = RGB.astype(np.uint16) * 257
    options = [{"compression": name} for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    return [
        png(RGB, 8, 2),
        png(sixteen, 16, 2),
        png(sixteen[:, :, 0], 16, 0, interlaced=True),
        netpbm(RGB, 6),
        netpbm(sixteen[:, :, 0], 5, 65535),
        netpbm(RGB, 3),
        netpbm(RGB[:, :, 0] % 2, 4),
        netpbm(RGB[:, :, 0] % 2, 1),
        netpbm(RGB, 6) * 2,
        jp2(RGB),
        jp2(sixteen),
        jp2(sixteen[:, :, 0], form="j2k"),
        saved(IMAGE, "JPEG2000"),
        saved(IMAGE.convert("RGBA"), "JPEG2000", tile_size=(16, 16)),
        bmp(RGB, 24),
        npy(RGB),
        npy(sixteen.astype(np.float64)),
        tiff(sixteen, 2, ">"),
        tiff(RGB, 2, "<", big=True),
        tiff(RGB[:, :, 0], 0),
        saved(IMAGE.convert("1"), "TIFF", compression="group4"),
        *[saved(IMAGE, kind) for kind in ("JPEG", "WEBP", "GIF")],
        *[saved(palette, kind) for kind in ("PNG", "BMP", "GIF", "TIFF")],
        *[saved(IMAGE.convert("CMYK"), kind) for kind in ("JPEG", "TIFF")],
        *[saved(IMAGE, "TIFF", **option) for option in options],
        *[saved(IMAGE, kind, **more) for kind in ("PNG", "GIF", "WEBP", "TIFF")],
    ]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return a file with random bytes changed, deleted or inserted, or truncated."""
    result = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(result) if rng.random() < 0.5 else min(len(result), 200))
        match rng.randrange(8):
            case 0 | 1 | 2:
                result[at] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
            case 3:
                result[at] ^= 1 << rng.randrange(8)
            case 4:
                result[at : at + 4] = rng.choice([b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4)])
            case 5:
                del result[at : at + rng.randrange(1, 20)]
            case 6:
                result[at:at] = rng.randbytes(rng.randrange(1, 9))
            case _:
                del result[max(at, 1) :]
        result = result or bytearray(1)
    return bytes(result)


def decode_mutations(rounds: int, seed: int) -> tuple[int, int]:
    """Decode mutated files with random options; return the numbers of files read and refused."""
    rng, files, read = random.Random(seed), seeds(), 0
    for _ in range(rounds):
        data, pages = mutated(rng.choice(files), rng), rng.choice(["refuse", "bands", "1"])
        channels, indices = rng.choice([None, 1, 3]), rng.random() < 0.2
        start = time.process_time()
        try:
            pixels = decode(data, "x.png", channels, pages, indices, max_pixels=2**20).pixels
        except UserError as error:
            assert str(error).startswith("x.png ") and "\n" not in str(error)
        else:
            assert pixels.ndim == 3 and pixels.size
            read += 1
        assert time.process_time() - start < 2
    return read, rounds - read


def test_every_seed_is_valid() -> None:
    for data in seeds():
        assert decode(data, "x", pages="0")[0].size


def test_some_mutated_files_give_pixels_or_a_user_error() -> None:
    read, refused = decode_mutations(2000, seed=1)
    assert read > 100 and refused > 500


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 6))
def test_mutated_files_give_pixels_or_a_user_error(seed: int) -> None:
    read, refused = decode_mutations(25_000, seed)
    assert read > 1000 and refused > 5000
