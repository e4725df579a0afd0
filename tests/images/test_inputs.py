"""Images that Python code gives: paths, bytes, file objects, Pillow images, arrays; one set of
rules."""

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


def deep(path: Path) -> Path:
    tifffile.imwrite(path, np.stack([GREY16] * 3, axis=2), photometric="rgb")
    return path


def frames(path: Path) -> Path:
    images = [Image.fromarray(np.roll(RGB, n, axis=0)) for n in range(3)]
    return put(path, images[0], save_all=True, append_images=images[1:])


def cut(path: Path) -> Path:
    put(path, Image.fromarray(RNG.integers(0, 256, (200, 200, 3), np.uint8)))
    path.write_bytes(path.read_bytes()[:3000])
    return path


GOOD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "PNG": ("x.png", lambda path: put(path, Image.fromarray(RGB))),
    "JPEG, rotated by EXIF": ("x.jpg", oriented),
    "PNG, rotated by EXIF": ("x.png", oriented),
    "WebP, rotated by EXIF": ("x.webp", oriented),
    "TIFF, rotated by EXIF": ("x.tif", oriented),
    "palette with a transparent colour": ("x.png", palette),
    "alpha": ("x.png", lambda path: put(path, Image.fromarray(RGB).convert("RGBA"))),
    "grey": ("x.png", lambda path: put(path, Image.fromarray(RGB).convert("L"))),
    "CMYK": ("x.jpg", lambda path: put(path, Image.fromarray(RGB).convert("CMYK"))),
    "grey of 16 bits": ("x.png", lambda path: put(path, Image.fromarray(GREY16))),
    "RGB of 16 bits, which Pillow does not read": ("x.tif", deep),
}
BAD: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "GIF of 3 frames": ("x.gif", frames, "3 pages or frames"),
    "PNG of 3 frames": ("x.png", frames, "3 pages or frames"),
    "WebP of 3 frames": ("x.webp", frames, "3 pages or frames"),
    "TIFF of 3 pages": ("x.tif", frames, "3 pages or frames"),
    "half a JPEG": ("x.jpg", cut, "is damaged or cannot be read"),
    "half a PNG": ("x.png", cut, "is damaged or cannot be read"),
    "large": ("x.png", lambda p: put(p, Image.new("1", (1001, 1000))), "--max_megapixels 2 "),
}
DOORS: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memory": lambda path: memoryview(path.read_bytes()),
    "file": lambda path: path.open("rb"),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "Pillow": Image.open,
    "Pillow, of bytes": lambda path: Image.open(io.BytesIO(path.read_bytes())),
}


def given(image: Any, channels: int = 3, most: int = 10**6, **config: Any) -> Pixels:
    return to_domain_pixels(image, DomainConfig(channels=channels, **config), most)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_gives_the_pixels_of_the_file(kind: str, door: str, tmp_path: Path) -> None:
    name, make = GOOD[kind]
    path = make(tmp_path / name)
    image = DOORS[door](path)
    made = given(image)
    if hasattr(image, "close"):
        image.close()
    assert made.dtype == read(path, 3).dtype and np.array_equal(made, read(path, 3))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", BAD)
def test_every_kind_is_refused_as_the_file_is(kind: str, door: str, tmp_path: Path) -> None:
    name, make, said = BAD[kind]
    path = make(tmp_path / name)
    image = DOORS[door](path)
    with pytest.raises(UserError, match=said):
        given(image)
    if hasattr(image, "close"):
        image.close()


@pytest.mark.parametrize("kind", [kind for kind in GOOD if "16 bits, which" not in kind])
def test_a_pillow_image_that_was_loaded_is_the_same(kind: str, tmp_path: Path) -> None:
    name, make = GOOD[kind]
    path = make(tmp_path / name)
    with Image.open(path) as image:
        image.load()
    assert np.array_equal(given(image), read(path, 3))
    if kind not in ("grey of 16 bits",):
        assert given(image.convert("RGB")).shape == read(path, 3).shape  # upright as well


def test_reading_leaves_a_pillow_image_usable(tmp_path: Path) -> None:
    for suffix in ("png", "jpg", "webp", "tif", "bmp"):
        path = put(tmp_path / f"x.{suffix}", Image.fromarray(RGB))
        with Image.open(path) as image:
            first = given(image)
            assert np.array_equal(np.asarray(image), first)
            assert np.array_equal(given(image), first)


def test_a_frame_that_was_chosen_is_taken(tmp_path: Path) -> None:
    with Image.open(frames(tmp_path / "x.gif")) as image:
        image.seek(1)
        one = image.convert("RGB")
    assert np.array_equal(given(one), np.asarray(one))
    with Image.open(tmp_path / "x.gif") as image:
        page = given(image, pages="2")
        assert np.array_equal(page, read(tmp_path / "x.gif", 3, pages="2"))


def test_a_format_that_only_pillow_reads_follows_the_rules(tmp_path: Path) -> None:
    path = put(tmp_path / "x.tga", Image.fromarray(RGB))
    with Image.open(path) as image:
        assert np.array_equal(given(image), RGB)
    path.write_bytes(path.read_bytes()[:100])
    with Image.open(path) as image, pytest.raises(UserError, match=r"x\.tga is damaged"):
        given(image)


def test_a_draft_is_taken_at_its_size(tmp_path: Path) -> None:
    path = put(tmp_path / "x.jpg", Image.new("RGB", (64, 64)))
    with Image.open(path) as image:
        image.draft("RGB", (16, 16))
        assert given(image).shape == (16, 16, 3)


def test_class_numbers_of_a_palette_are_its_indices() -> None:
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 3)
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 0, 255])
    made = to_domain_pixels(image, DomainConfig(kind="labels", ids=3), MAX_PIXELS)
    assert made[:, :, 0].tolist() == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]]
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
def test_arrays_are_as_a_file_of_them(array: Any, dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    made = given(array)
    assert made.dtype == dtype and np.array_equal(made, read(tmp_path / "x.npy", 3))


@pytest.mark.parametrize(
    ("image", "said"),
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
def test_what_is_no_image_is_refused_in_a_sentence(image: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        given(image)
