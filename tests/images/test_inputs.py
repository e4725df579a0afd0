"""Test images pixels_of from Python: paths, bytes, file objects, Pillow images, arrays."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from viceversa.errors import UserError
from viceversa.images import MAX_PIXELS, Pixels, read
from viceversa.images.domain import DomainConfig
from viceversa.images.loading import to_domain_pixels

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (9, 13, 3), np.uint8)
GREY16 = RNG.integers(0, 65536, (9, 13), np.uint16)


def put(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def oriented(path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    return put(path, Image.fromarray(RGB), exif=exif)


def palette(path: Path) -> Path:
    image = Image.fromarray(RGB).quantize(16)
    return put(path, image, transparency=3)


def rgb16(path: Path) -> Path:
    tifffile.imwrite(path, np.stack([GREY16] * 3, axis=2), photometric="rgb")
    return path


def frames(path: Path) -> Path:
    images = [Image.fromarray(np.roll(RGB, n, axis=0)) for n in range(3)]
    return put(path, images[0], save_all=True, append_images=images[1:])


def truncated(path: Path) -> Path:
    put(path, Image.fromarray(RNG.integers(0, 256, (200, 200, 3), np.uint8)))
    path.write_bytes(path.read_bytes()[:3000])
    return path


VALID: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "PNG": ("x.png", lambda path: put(path, Image.fromarray(RGB))),
    "JPEG, rotated by EXIF": ("x.jpg", oriented),
    "PNG, rotated by EXIF": ("x.png", oriented),
    "WebP, rotated by EXIF": ("x.webp", oriented),
    "TIFF, rotated by EXIF": ("x.tif", oriented),
    "palette with a transparent colour": ("x.png", palette),
    "alpha": ("x.png", lambda path: put(path, Image.fromarray(RGB).convert("RGBA"))),
    "grey": ("x.png", lambda path: put(path, Image.fromarray(RGB).convert("L"))),
    "CMYK": ("x.jpg", lambda path: put(path, Image.fromarray(RGB).convert("CMYK"))),
    "grey 16": ("x.png", lambda path: put(path, Image.fromarray(GREY16))),
    "RGB 16, which Pillow does not read": ("x.tif", rgb16),
}
INVALID: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "GIF of 3 frames": ("x.gif", frames, "3 pages or frames"),
    "PNG of 3 frames": ("x.png", frames, "3 pages or frames"),
    "WebP of 3 frames": ("x.webp", frames, "3 pages or frames"),
    "TIFF of 3 pages": ("x.tif", frames, "3 pages or frames"),
    "half a JPEG": ("x.jpg", truncated, "is damaged or cannot be read"),
    "half a PNG": ("x.png", truncated, "is damaged or cannot be read"),
    "large": ("x.png", lambda p: put(p, Image.new("1", (1001, 1000))), "--max_megapixels 2 "),
}
INPUT_TYPES: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memory": lambda path: memoryview(path.read_bytes()),
    "file": lambda path: path.open("rb"),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "Pillow": Image.open,
    "Pillow, of bytes": lambda path: Image.open(io.BytesIO(path.read_bytes())),
}


def pixels_of(image: Any, channels: int = 3, max_pixels: int = 10**6, **config: Any) -> Pixels:
    return to_domain_pixels(image, DomainConfig(channels=channels, **config), max_pixels)


@pytest.mark.parametrize("input_type", INPUT_TYPES)
@pytest.mark.parametrize("kind", VALID)
def test_every_input_type_gives_the_pixels_of_the_file(
    kind: str, input_type: str, tmp_path: Path
) -> None:
    name, make = VALID[kind]
    path = make(tmp_path / name)
    image = INPUT_TYPES[input_type](path)
    pixels = pixels_of(image)
    if hasattr(image, "close"):
        image.close()
    assert pixels.dtype == read(path, 3).dtype and np.array_equal(pixels, read(path, 3))


@pytest.mark.parametrize("input_type", INPUT_TYPES)
@pytest.mark.parametrize("kind", INVALID)
def test_every_input_type_is_refused_like_the_file(
    kind: str, input_type: str, tmp_path: Path
) -> None:
    name, make, message = INVALID[kind]
    path = make(tmp_path / name)
    image = INPUT_TYPES[input_type](path)
    with pytest.raises(UserError, match=message):
        pixels_of(image)
    if hasattr(image, "close"):
        image.close()


@pytest.mark.parametrize("kind", [kind for kind in VALID if "RGB 16" not in kind])
def test_loaded_pillow_image_has_the_same_pixels(kind: str, tmp_path: Path) -> None:
    name, make = VALID[kind]
    path = make(tmp_path / name)
    with Image.open(path) as image:
        image.load()
    assert np.array_equal(pixels_of(image), read(path, 3))
    if kind not in ("grey 16",):
        assert pixels_of(image.convert("RGB")).shape == read(path, 3).shape  # also rotated


def test_pillow_image_remains_usable(tmp_path: Path) -> None:
    for suffix in ("png", "jpg", "webp", "tif", "bmp"):
        path = put(tmp_path / f"x.{suffix}", Image.fromarray(RGB))
        with Image.open(path) as image:
            first = pixels_of(image)
            assert np.array_equal(np.asarray(image), first)
            assert np.array_equal(pixels_of(image), first)


def test_selected_frame_is_used(tmp_path: Path) -> None:
    with Image.open(frames(tmp_path / "x.gif")) as image:
        image.seek(1)
        one = image.convert("RGB")
    assert np.array_equal(pixels_of(one), np.asarray(one))
    with Image.open(tmp_path / "x.gif") as image:
        page = pixels_of(image, pages="2")
        assert np.array_equal(page, read(tmp_path / "x.gif", 3, pages="2"))


def test_format_supported_only_by_pillow(tmp_path: Path) -> None:
    path = put(tmp_path / "x.tga", Image.fromarray(RGB))
    with Image.open(path) as image:
        assert np.array_equal(pixels_of(image), RGB)
    path.write_bytes(path.read_bytes()[:100])
    with Image.open(path) as image, pytest.raises(UserError, match=r"x\.tga is damaged"):
        pixels_of(image)


def test_draft_has_its_reduced_size(tmp_path: Path) -> None:
    path = put(tmp_path / "x.jpg", Image.new("RGB", (64, 64)))
    with Image.open(path) as image:
        image.draft("RGB", (16, 16))
        assert pixels_of(image).shape == (16, 16, 3)


def test_class_indices_of_a_palette_image() -> None:
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 3)
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 0, 255])
    pixels = to_domain_pixels(image, DomainConfig(kind="labels", ids=3), MAX_PIXELS)
    assert pixels[:, :, 0].tolist() == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]]
    with pytest.raises(UserError, match="class indices need one channel"):
        to_domain_pixels(image.convert("RGB"), DomainConfig(kind="labels", ids=3), MAX_PIXELS)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (RGB, "uint8"),
        (RGB.astype(np.float64), "float32"),
        (RGB.astype(np.float16), "float32"),
        (RGB > 9, "uint8"),
        (RGB.astype(np.int32), "float32"),
        (RGB.astype(">u2"), "uint16"),
        (RGB[::-1, ::-1], "uint8"),
        (np.asfortranarray(RGB), "uint8"),
    ],
    ids=str,
)
def test_arrays_are_read_like_npy_files(array: Any, dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    pixels = pixels_of(array)
    assert pixels.dtype == dtype and np.array_equal(pixels, read(tmp_path / "x.npy", 3))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 5, 3), np.uint8), "the array has no pixels: it is 5x0"),
        (np.zeros((5, 0, 3), np.uint8), "the array has no pixels: it is 0x5"),
        (np.zeros((5, 5, 0), np.uint8), r"an array must be \(h, w, 3\)"),
        (np.zeros((), np.uint8), r"an array must be \(h, w, 3\)"),
        (np.full((5, 5, 3), np.nan, np.float32), "75 non-finite values"),
        (np.full((5, 5, 3), 1e300), "75 non-finite values"),
        (np.full((5, 5, 3), 1j), "not real numbers"),
        (np.full((5, 5, 3), "x"), "not real numbers"),
        (np.full((5, 5, 3), 2**24 + 1), "float32 cannot represent"),
        (np.zeros((1001, 1000, 3), np.uint8), "--max_megapixels 2 "),
        (Image.new("RGB", (0, 5)), "has no pixels: it is 0x5"),
        (Image.new("RGB", (1001, 1000)), "--max_megapixels 2 "),
        (Image.new("F", (5, 5), float("inf")), "25 non-finite values"),
        (b"", "the image is not an image in a supported format"),
        (io.StringIO("x"), "the image is opened as text"),
        (None, "an image must be a path"),
        (7, "an image must be a path"),
        ([1], "must be a path"),
    ],
)
def test_invalid_images_are_refused(image: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pixels_of(image)
