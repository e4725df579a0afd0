"""Test writing, resizing and conversion to Pillow: exact pixels, no metadata added."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from encoders import Array
from PIL import Image

from viceversa.errors import UserError
from viceversa.images import MAX_PIXELS, decode, read, resize, suffix_for, to_pil, write
from viceversa.images.domain import DomainConfig
from viceversa.images.loading import to_domain_pixels

RNG = np.random.default_rng(5)


def values(dtype: str, channels: int, height: int = 7, width: int = 5) -> Array:
    """Return random values over the full range of a dtype."""
    shape = height, width, channels
    if dtype == "float32":
        return (RNG.standard_normal(shape) * 1e6).astype(np.float32)
    limits = np.iinfo(dtype)
    pixels = RNG.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    pixels.flat[:2] = limits.min, limits.max
    return pixels


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("size", [(7, 5), (1, 1), (5, 1), (1, 6), (40, 33)])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".npy", ".bmp", ".gif"])
def test_supported_pixels_are_written_exactly(
    tmp_path: Path, dtype: str, channels: int, size: tuple[int, int], suffix: str
) -> None:
    pixels, path = values(dtype, channels, *size), tmp_path / f"new/x{suffix}"
    if suffix_for(suffix, pixels) != suffix:
        with pytest.raises(
            UserError, match=rf"x\{suffix} cannot store {channels} channels? of {dtype}"
        ):
            write(path, pixels)
        assert not path.exists()
        return
    write(path, pixels)
    back = read(path)
    assert back.dtype == dtype and np.array_equal(back, pixels)


def test_negative_control_16_bits_through_8_bits() -> None:
    """Pixels are lost, and Pillow does not support 16-bit colour."""
    pixels = values("uint16", 3)
    assert not np.array_equal((pixels >> 8).astype(np.uint16) * 257, pixels)
    with pytest.raises(TypeError):
        Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".jpg", "JPEG"), (".jfif", "JPEG"), (".jpe", "JPEG"), (".webp", "WEBP")]
)
def test_lossy_files_are_close(tmp_path: Path, suffix: str, kind: str) -> None:
    y, x = np.mgrid[0:64, 0:64]
    smooth = np.stack([2 * x + 40, 2 * y + 50, x + y + 60], axis=2).astype(np.uint8)
    write(tmp_path / f"x{suffix}", smooth)
    back = read(tmp_path / f"x{suffix}").astype(int)
    with Image.open(tmp_path / f"x{suffix}") as image:
        assert image.format == kind
    assert np.abs(back - smooth.astype(int)).mean() < 2


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels", "expected"),
    [
        (".PNG", "uint16", 4, ".PNG"),
        (".jpg", "uint8", 3, ".jpg"),
        (".jpg", "uint8", 1, ".jpg"),
        (".jpg", "uint16", 3, ".png"),
        (".jfif", "uint8", 3, ".jfif"),
        (".jpe", "uint8", 1, ".jpe"),
        (".jfif", "uint16", 3, ".png"),
        (".jp2", "uint16", 3, ".png"),
        (".ppm", "uint8", 3, ".png"),
        (".pgm", "float32", 1, ".tif"),
        (".jpeg", "uint8", 4, ".png"),
        (".webp", "uint8", 1, ".png"),
        (".webp", "uint8", 4, ".webp"),
        (".gif", "uint8", 3, ".png"),
        (".gif", "uint8", 1, ".gif"),
        (".png", "float32", 1, ".tif"),
        (".png", "uint8", 6, ".tif"),
        (".bmp", "int16", 1, ".tif"),
        (".npy", "float32", 9, ".npy"),
        (".tiff", "uint8", 3, ".tiff"),
        (".xyz", "uint8", 3, ".png"),
    ],
)
def test_extension_is_kept_if_its_format_supports_the_pixels(
    suffix: str, dtype: str, channels: int, expected: str
) -> None:
    assert suffix_for(suffix, (dtype, channels)) == expected
    assert suffix_for(suffix, np.zeros((1, 1, channels), dtype)) == expected


def test_unknown_extensions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.xyz does not have the suffix of .*\.png"):
        write(tmp_path / "x.xyz", values("uint8", 3))
    (tmp_path / "x.png").mkdir()
    with pytest.raises(UserError, match=r"x\.png could not be written"):
        write(tmp_path / "x.png", values("uint8", 3))


def test_photometric_and_extra_samples_of_tiff(tmp_path: Path) -> None:
    for channels, dtype, photometric in (
        (1, "uint16", 1),
        (3, "uint16", 2),
        (3, "float32", 1),
        (4, "uint8", 1),
        (6, "int16", 1),
    ):
        write(tmp_path / "x.tif", values(dtype, channels))
        with tifffile.TiffFile(tmp_path / "x.tif") as file:
            page = file.pages[0]
            assert len(file.pages) == 1 and page.photometric == photometric
            extra = channels - (3 if photometric == 2 else 1)
            assert tuple(page.extrasamples) == (0,) * extra
        header = decode((tmp_path / "x.tif").read_bytes(), "x")[1]
        assert not header.alpha and header.channels == channels


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_metadata_of_the_source_is_not_written(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a private place"
    options = {"exif": exif, "icc_profile": b"a private profile"}
    source, image = io.BytesIO(), Image.fromarray(values("uint8", 3, 16, 16))
    image.save(source, "JPEG", comment=b"a private word", **options)
    assert source.getvalue().count(b"a private") == 3
    with Image.open(source) as opened:
        given = to_domain_pixels(opened, DomainConfig(), MAX_PIXELS)
        for pixels in (decode(source.getvalue(), "x")[0], given):
            write(tmp_path / f"x{suffix}", pixels)
            data = (tmp_path / f"x{suffix}").read_bytes()
            assert b"private" not in data and b"tifffile" not in data and b"Exif" not in data
        naive = io.BytesIO()  # negative control: Pillow copies metadata into a TIFF
        opened.resize((8, 8)).save(naive, "TIFF")
    assert b"private" in naive.getvalue()


# -- sizes


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("resample", ["bicubic", "bilinear", "nearest"])
def test_resizing_is_the_same_for_all_dtypes_and_channels(
    dtype: str, channels: int, resample: str
) -> None:
    eight = (
        values("uint8", channels, 24, 20) % 56 + 100
    )  # away from the ends, where 8 bits clip overshoot
    scale = {"uint8": 1, "uint16": 257, "int16": 100, "float32": 0.5}[dtype]
    pixels = (eight.astype(np.float64) * scale).astype(dtype)
    for height, width in ((12, 10), (31, 47), (24, 7)):
        resized = resize(pixels, height, width, resample)
        assert resized.shape == (height, width, channels) and resized.dtype == dtype
        for channel in range(channels):
            plane = Image.fromarray(eight[:, :, channel])
            expected = plane.resize((width, height), Image.Resampling[resample.upper()])
            difference = resized[:, :, channel].astype(np.float64) / scale - np.asarray(expected)
            exact = resample == "nearest" or dtype == "uint8"
            tolerance = 0 if exact else 1.5  # 8 bits round twice
            assert np.abs(difference).max() <= tolerance
    assert resize(pixels, 24, 20, resample) is pixels


def test_overshoot_is_clipped_to_the_dtype() -> None:
    step = np.zeros((8, 8, 1), np.uint16)
    step[:, 4:] = 65535
    resized = resize(step, 32, 32)
    assert (
        resized.min() == 0
        and resized.max() == 65535
        and resized[0, 0] == 0
        and resized[0, -1] == 65535
    )
    naive = np.asarray(Image.fromarray(step[:, :, 0].astype(np.float32)).resize((32, 32)))
    assert naive.min() < 0 or naive.max() > 65535  # negative control: it would wrap around
    fraction = resize(step.astype(np.float32) / 65535, 32, 32)
    assert fraction.max() > 1  # floats have no limits


def test_unknown_filters_are_refused() -> None:
    with pytest.raises(UserError, match="one of bicubic, bilinear, nearest, not 'lanczos'"):
        resize(values("uint8", 3), 2, 2, "lanczos")


def test_fourth_channel_is_not_alpha_when_resizing() -> None:
    """Pillow alone weights the colours of RGBA by alpha."""
    pixels = values("uint8", 4, 16, 16)
    assert np.array_equal(resize(pixels, 8, 8)[:, :, :3], resize(pixels[:, :, :3].copy(), 8, 8))
    naive = np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.BICUBIC))
    assert not np.array_equal(naive[:, :, :3], resize(pixels, 8, 8)[:, :, :3])


def test_conversion_to_pillow() -> None:
    for dtype, channels, mode in (
        ("uint8", 1, "L"),
        ("uint8", 2, "LA"),
        ("uint8", 3, "RGB"),
        ("uint8", 4, "RGBA"),
        ("uint16", 1, "I;16"),
    ):
        pixels = values(dtype, channels)
        image = to_pil(pixels)
        given = to_domain_pixels(image, DomainConfig(channels=channels), MAX_PIXELS)
        assert image.mode == mode and np.array_equal(given, pixels)
    for dtype, channels in (("uint8", 6), ("uint16", 3), ("float32", 1), ("int16", 1)):
        with pytest.raises(UserError, match=f"no mode for {channels} channels of {dtype}"):
            to_pil(values(dtype, channels))
