"""Test writing in bands of rows: tiles, levels of half the size, tags, and faults."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from viceversa.errors import UserError
from viceversa.images import Pixels, Tags, pyramid, read, read_header, read_tags
from viceversa.images.nodata import NoData, mask_of
from viceversa.images.pyramid import TiffRows, halved
from viceversa.images.rows import open_rows

RNG = np.random.default_rng(23)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tiles and the smallest levels small."""
    monkeypatch.setattr(pyramid, "TILE", 32)
    monkeypatch.setattr(pyramid, "SMALLEST", 40)


def noise(*shape: int, dtype: str = "uint8") -> Pixels:
    if dtype == "float32":
        return RNG.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def save(path: Path, pixels: Pixels, *heights: int, **options: Any) -> Path:
    """Write pixels in bands whose heights repeat."""
    shape, start = pixels.shape, 0
    with TiffRows(path, (shape[0], shape[1], shape[2]), pixels.dtype, **options) as out:
        for height in itertools.cycle(heights or (7, 1, 40, 19)):
            out.write(pixels[start : start + height])
            start += height
            if start >= shape[0]:
                break
    return path


def levels(path: Path) -> list[Any]:
    """Return the levels as tifffile reads them, (h, w, channels)."""
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == len(file.series) == 1
        arrays = [level.asarray() for level in file.series[0].levels]
    return [one if one.ndim == 3 else one[:, :, None] for one in arrays]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["x.tif", "x.ome.tif", "x.OME.TIFF"])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_levels_are_averages(tmp_path: Path, dtype: str, channels: int, name: str) -> None:
    pixels = noise(131, 95, channels, dtype=dtype)
    path = save(tmp_path / name, pixels)
    base, *below = levels(path)
    assert np.array_equal(base, pixels) and np.array_equal(read(path), pixels)
    assert [level.shape for level in below] == [(66, 48, channels), (33, 24, channels)]
    for level in below:
        height, width = base.shape[:2]
        full = np.pad(base.astype(np.float64), ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        means = full.reshape(len(level), 2, -1, 2, channels).mean(axis=(1, 3))
        expected = means if dtype == "float32" else np.floor(means + 0.5)
        assert np.array_equal(level, expected.astype(dtype))
        base = level
    with tifffile.TiffFile(path) as file:
        assert file.is_ome == ("ome" in name.lower()) and file.pages[0].tile == (32, 32)
        assert file.pages[0].predictor == (3 if dtype == "float32" else 2)
        assert all(page.is_reduced and page.tile for page in file.pages[0].pages)
        assert not file.is_bigtiff and "tifffile" not in str(file.pages[0].software)
        if file.is_ome:
            assert file.series[0].axes == ("YX" if channels == 1 else "YXS")
    with open_rows(path) as rows:
        assert rows.windowed and np.array_equal(rows.rows(30, 77), pixels[30:77])


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_averages_by_hand(dtype: str) -> None:
    rows = np.array([[1, 2, 9], [4, 4, 10], [0, 1, 7]], dtype)[:, :, None]
    assert halved(rows)[:, :, 0].tolist() == [[3, 10], [1, 7]]  # 11 / 4, 19 / 2; 1 / 2, 7
    assert halved(rows[:1, :1]).tolist() == [[[1]]]
    weights = np.array([[1, 0, 0], [0, 0, 0], [1, 3, 1]], dtype)[:, :, None]
    assert halved(rows, weights, 99)[:, :, 0].tolist() == [[1, 99], [1, 7]]  # 3 / 4
    if dtype == "int16":
        assert halved(-rows)[:, :, 0].tolist() == [[-3, -9], [0, -7]]  # halves up


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("dtype", "text", "value"),
    [
        ("float32", "nan", np.nan),
        ("float32", "-9999", -9999),
        ("uint8", "0", 0),
        ("int16", "-5", -5),
    ],
)
def test_pixels_without_data_do_not_enter_averages(
    tmp_path: Path, dtype: str, text: str, value: float
) -> None:
    pixels = np.full((82, 50, 2), 100, dtype)
    pixels[:33, :21, 0] = value
    path = save(tmp_path / "x.tif", pixels, tags=Tags(nodata=text))
    _, half, quarter = levels(path)
    for level, scale in ((half, 2), (quarter, 4)):  # a pixel with some data has data
        expected = np.zeros(level.shape, bool)
        expected[: 33 // scale, : 21 // scale, 0] = True
        lost = np.isnan(level) if text == "nan" else level == value
        assert np.array_equal(lost, expected) and (level[~lost] == 100).all()
    assert read_tags(path).nodata == text
    mask = mask_of(read(path, nodata=NoData(tag=True)))
    assert mask is not None and mask[:33, :21, 0].all() and mask.sum() == 33 * 21
    negative = levels(save(tmp_path / "x.tif", pixels))[1]  # control: no tag
    assert not np.isin(negative, [100, value]).all()


@pytest.mark.usefixtures("small")
def test_transparent_colours_do_not_enter_averages(tmp_path: Path) -> None:
    pixels = np.zeros((60, 64, 4), np.uint8)
    pixels[::2] = 250, 100, 20, 255
    pixels[1::2] = 0, 0, 255, 0
    pixels[40:] = 0
    path = save(tmp_path / "x.tif", pixels, alpha=True)
    assert read_header(path).alpha
    half = levels(path)[1]
    assert (half[:20] == [250, 100, 20, 128]).all() and not half[20:].any()
    with Image.open(path) as image:
        assert image.mode == "RGBA" and np.array_equal(np.asarray(image), pixels)


@pytest.mark.usefixtures("small")
def test_levels_of_label_maps_are_classes(tmp_path: Path) -> None:
    pixels = noise(70, 61, 1)
    base, half = levels(save(tmp_path / "x.tif", pixels, labels=True))
    assert np.array_equal(base, pixels) and np.array_equal(half, pixels[::2, ::2])


def test_size_of_levels(tmp_path: Path) -> None:
    """Levels end at 1024 pixels; a smaller image has none."""
    for (height, width), shapes in (
        ((1025, 20), [(513, 10)]),
        ((7, 4097), [(4, 2049), (2, 1025), (1, 513)]),
        ((1024, 9), []),
        ((1, 1), []),
    ):
        pixels = noise(height, width, 3)
        path = save(tmp_path / "x.tif", pixels)
        assert [level.shape[:2] for level in levels(path)] == [(height, width), *shapes]
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image), pixels)
        assert np.array_equal(read(path), pixels)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["x.tif", "x.ome.tif"])
def test_tags_are_written(tmp_path: Path, name: str) -> None:
    geometry = ((33550, "d", 3, (10.0, 10.0, 0.0), True), (34737, "s", 0, "WGS 84|", True))
    tags = Tags(ICC, "<GDALMetadata/>", "7", geometry)
    path = save(tmp_path / name, noise(60, 50, 3), tags=tags)
    stored = read_tags(path)
    assert stored[:3] == tags[:3]
    assert [(tag[0], tag[3]) for tag in stored.geometry] == [(tag[0], tag[3]) for tag in geometry]


@pytest.mark.usefixtures("small")
def test_bigtiff_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(90, 50, 1)
    monkeypatch.setattr(pyramid, "CLASSIC", 4000)
    path = save(tmp_path / "x.tif", pixels)
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff and len(file.series[0].levels) == 3
    assert np.array_equal(read(path), pixels)


class Interrupted(Exception):
    """Exception of a test."""


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("old", [True, False])
def test_an_exception_leaves_nothing(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "x.tif"
    if old:
        path.write_bytes(b"old")
    with pytest.raises(Interrupted), TiffRows(path, (90, 50, 3), "uint8") as out:
        out.write(noise(70, 50, 3))
        raise Interrupted
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("x.tif", b"old")] * old


def test_wrong_rows_are_refused(tmp_path: Path) -> None:
    path, shape = tmp_path / "x.tif", (9, 5, 3)
    with (
        pytest.raises(ValueError, match=r"2 rows of .* are missing"),
        TiffRows(path, shape, "uint8") as out,
    ):
        out.write(noise(7, 5, 3))
    for rows in (noise(10, 5, 3), noise(9, 4, 3), noise(9, 5, 3, dtype="uint16")):
        with pytest.raises(ValueError, match="rows are"), TiffRows(path, shape, "uint8") as out:
            out.write(rows)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("buffering", [0, 2**20])
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffering: int) -> None:
    """The disk is full while tiles are written, or when the final file is assembled."""
    full = Path("/dev/full")
    monkeypatch.setattr(pyramid.tempfile, "TemporaryFile", lambda dir: full.open("r+b", buffering))
    with pytest.raises(UserError, match=r"x\.tif could not be written: the disk is full") as caught:
        save(tmp_path / "x.tif", noise(99, 50, 3))
    assert caught.value.path == tmp_path / "x.tif" and not list(tmp_path.iterdir())


def test_folders_are_created_or_refused(tmp_path: Path) -> None:
    assert read(save(tmp_path / "a" / "b" / "x.tif", noise(9, 5, 3))).shape == (9, 5, 3)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"x\.tif could not be written"):
        save(tmp_path / "file" / "x.tif", noise(9, 5, 3))


@pytest.mark.slow
def test_memory_is_that_of_rows_of_tiles(tmp_path: Path) -> None:
    band, height = np.zeros((256, 1200, 3), np.uint8), 8192
    tracemalloc.start()
    try:
        with TiffRows(tmp_path / "x.tif", (height, 1200, 3), np.uint8) as out:
            for _ in range(height // 256):
                out.write(band)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    whole = height * band[0].nbytes
    assert peak < whole / 2 and [len(one) for one in levels(tmp_path / "x.tif")] == [
        8192,
        4096,
        2048,
        1024,
    ]
