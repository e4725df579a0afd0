"""Test reading in bands of rows: the pixels of `read`, decoded on demand."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_files
import tifffile
from encoders import ifds, saved, tiff
from PIL import Image

from viceversa.errors import UserError
from viceversa.images import Pixels, read
from viceversa.images.formats import tiff_rows
from viceversa.images.nodata import NoData, mask_of, parse_nodata
from viceversa.images.rows import ImageRows, open_rows

RNG = np.random.default_rng(17)
SIZE = (70, 53)
GREY, RGB, RGBA = (RNG.integers(0, 256, (*SIZE, n), dtype=np.uint8) for n in (1, 3, 4))
SIXTEEN = RNG.integers(0, 65536, (*SIZE, 3), dtype=np.uint16)
FLOAT = RNG.normal(size=SIZE).astype(np.float32)
FLOAT[RNG.random(SIZE) < 0.2] = -9999
TILE = (16, 32)
TAG = [(42113, "s", 0, "-9999", True)]
COLOURS = RNG.integers(0, 65536, (3, 256), dtype=np.uint16)
SMOOTH = np.stack(np.broadcast_arrays(*np.ogrid[:70, :53], 90), axis=2).astype(np.uint8)


def bands(rows: ImageRows, *heights: int) -> Pixels:
    """Read all rows in bands whose heights repeat."""
    parts, start = [], 0
    for height in itertools.cycle(heights):
        parts.append(rows.rows(start, min(start + height, rows.height)))
        start += height
        if start >= rows.height:
            return np.ma.concatenate(parts)


def assert_same(path: Path, windowed: bool | None = None, **options: Any) -> None:
    """Assert that rows are the pixels of `read`."""
    expected = read(path, **options)
    with open_rows(path, **options) as rows:
        for heights in ((7, 1, 19, 40), (1,), (1000,)):
            pixels = bands(rows, *heights)
            assert pixels.dtype == expected.dtype and pixels.shape == expected.shape
            assert np.array_equal(np.ma.getdata(pixels), np.ma.getdata(expected))
            assert np.array_equal(np.ma.getmaskarray(pixels), np.ma.getmaskarray(expected))
        assert (rows.height, rows.width, rows.channels) == expected.shape
        assert rows.dtype == expected.dtype
        assert windowed is None or rows.windowed == windowed


@pytest.mark.parametrize("name", test_files.TABLE)
def test_rows_of_each_mode(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.dat").write_bytes(test_files.TABLE[name][0])
    assert_same(tmp_path / "x.dat")


# name -> values and options of tifffile
MADE: dict[str, tuple[Any, dict[str, Any]]] = {
    "tiles": (RGB, {"tile": TILE, "photometric": "rgb"}),
    "tiles, deflate": (
        RGB,
        {"tile": TILE, "photometric": "rgb", "compression": "adobe_deflate", "predictor": True},
    ),
    "tiles in planes": (
        np.moveaxis(SIXTEEN, 2, 0),
        {"tile": TILE, "photometric": "rgb", "planarconfig": "separate", "compression": "lzw"},
    ),
    "strips": (SIXTEEN, {"rowsperstrip": 9, "photometric": "rgb"}),
    "strips in planes": (
        np.moveaxis(RGB, 2, 0),
        {"rowsperstrip": 9, "planarconfig": "separate", "photometric": "rgb", "compression": "lzw"},
    ),
    "strips, LZW": (
        SIXTEEN,
        {"photometric": "rgb", "rowsperstrip": 8, "compression": "lzw", "predictor": True},
    ),
    "one strip": (SIXTEEN, {"photometric": "rgb", "byteorder": ">"}),
    "one strip in planes": (
        np.moveaxis(RGB, 2, 0),
        {"planarconfig": "separate", "photometric": "rgb"},
    ),
    "BigTIFF": (RGB, {"bigtiff": True, "tile": TILE, "compression": "zstd", "photometric": "rgb"}),
    "palette": (
        GREY[:, :, 0],
        {"photometric": "palette", "colormap": COLOURS, "rowsperstrip": 8, "compression": "lzw"},
    ),
    "float": (FLOAT, {"tile": TILE, "compression": "deflate", "predictor": True}),
    "float in strips": (FLOAT, {"rowsperstrip": 6, "compression": "lzma"}),
    "float 64": (FLOAT.astype(np.float64), {"rowsperstrip": 6, "byteorder": ">"}),
    "RGBA": (RGBA, {"photometric": "rgb", "extrasamples": ["unassalpha"], "tile": TILE}),
    "JPEG": (SMOOTH, {"compression": "jpeg", "photometric": "rgb", "tile": TILE}),
    "JPEG, YCbCr": (SMOOTH, {"compression": "jpeg", "photometric": "ycbcr", "tile": TILE}),
    "JPEG in strips": (SMOOTH, {"compression": "jpeg", "photometric": "rgb", "rowsperstrip": 16}),
    "1 bit": (GREY[:, :, 0] > 99, {"photometric": "minisblack", "rowsperstrip": 11}),
    "white is 0": (GREY[:, :, 0], {"photometric": "miniswhite", "tile": TILE}),
}


@pytest.mark.parametrize("name", MADE)
def test_rows_of_each_layout(tmp_path: Path, name: str) -> None:
    values, options = MADE[name]
    path = tmp_path / "x.tif"
    tags = TAG if "float" in name else None
    tifffile.imwrite(path, values, metadata=None, extratags=tags, **options)
    assert_same(path, True, nodata=NoData(tag=True))
    assert_same(path, True, channels=3, nodata=NoData(tag=True))
    if values.dtype == np.uint8 and name in ("palette", "1 bit"):
        assert_same(path, True, indices=True)


@pytest.mark.slow
def test_rows_are_masked_as_the_image(tmp_path: Path) -> None:
    path, mask = tmp_path / "x.tif", np.zeros(SIZE, bool)
    mask[11:30, 7:] = True
    pixels = RGBA.copy()
    pixels[40:45, :, 3] = 0
    options = {"photometric": "rgb", "extrasamples": ["unassalpha"], "tile": TILE}
    tifffile.imwrite(path, pixels, metadata=None, **options)
    for nodata in (">=100", "7", "none"):
        for alpha in (False, True):
            given = parse_nodata(nodata)._replace(alpha=alpha)
            assert_same(path, True, channels=3, nodata=given, mask=mask)
            assert_same(path, True, channels=1, nodata=given)
    with open_rows(path, 3, mask=mask) as rows:
        assert mask_of(rows.rows(0, 11)) is None and mask_of(rows.rows(10, 12)) is not None
    with (
        pytest.raises(UserError, match="is 53x70, and its mask 53x69"),
        open_rows(path, mask=mask[1:]),
    ):
        pass


def test_pages(tmp_path: Path) -> None:
    path, stack = tmp_path / "x.tif", np.moveaxis(SIXTEEN, 2, 0)
    tifffile.imwrite(path, stack, photometric="minisblack", rowsperstrip=8, compression="lzw")
    assert_same(path, True, pages="bands")
    assert_same(path, True, pages="1")
    tifffile.imwrite(path, SIXTEEN[:, :, [0, 1]], rowsperstrip=1, photometric="minisblack")
    assert_same(path, False, channels=2)  # 70 pages of 53x2


def test_of_a_pyramid_the_full_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(RGB, subifds=1, tile=TILE, photometric="rgb")
        file.write(RGB[::2, ::2], subfiletype=1, tile=TILE, photometric="rgb")
    assert_same(path, True)
    with open_rows(path) as rows:
        assert rows.height == 70 and rows.together == 16


@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_images_are_decoded_whole(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "x.tif"
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(path, RGB, photometric="rgb", rowsperstrip=8, extratags=tags)
    assert_same(path, False)


def test_bands_that_overlap_decode_no_tile_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = tmp_path / "x.tif", list[int]()
    tifffile.imwrite(path, RGB, photometric="rgb", tile=TILE, compression="lzw")
    original = tiff_rows.segment_bytes

    def count(page: Any, file: Any, index: int) -> bytes:
        calls.append(index)
        return original(page, file, index)

    monkeypatch.setattr(tiff_rows, "segment_bytes", count)
    with open_rows(path) as rows:
        for start in range(0, 70, 10):
            rows.rows(max(start - 3, 0), min(start + 13, 70))
    assert sorted(calls) == list(range(5 * 2))  # 70 rows of 16, 53 columns of 32


@pytest.mark.slow
def test_memory_is_that_of_the_bands(tmp_path: Path) -> None:
    path, side = tmp_path / "x.tif", 2048
    values = np.zeros((side, side, 3), np.uint8)
    tifffile.imwrite(path, values, photometric="rgb", tile=(128, 128), compression="zlib")

    def peak(work: Callable[[], object]) -> float:
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1] / values.nbytes
        finally:
            tracemalloc.stop()

    def by_bands() -> None:
        with open_rows(path) as rows:
            for start in range(0, side, 100):
                rows.rows(start, min(start + 100, side))

    assert peak(by_bands) < 0.35
    assert peak(lambda: read(path)) > 0.99  # control


def damaged() -> dict[str, tuple[bytes, str]]:
    """Return bytes and a part of the error message by name."""
    good = tiff(GREY[:, :, 0], 1)
    jpeg = saved(Image.fromarray(SMOOTH), "JPEG")
    page = {
        256: ("I", 53),
        257: ("I", 32),
        258: ("H", 8, 8, 8),
        259: ("H", 7),
        262: ("H", 6),
        273: ("I", 8, 8),
        277: ("H", 3),
        278: ("I", 16),
        279: ("I", len(jpeg), len(jpeg)),
    }
    tiles = {"t322": ("I", 6400), "t323": ("I", 6400), "t324": ("I", *[8] * 2)}
    return {
        "cut": (good[: len(good) // 2], "is damaged"),
        "strip beyond the end": (tiff(GREY[:, :, 0], 1, t279=("I", 10**6)), "ends too early"),
        "strip too short": (
            tiff(GREY[:, :, 0], 1, t257=("I", 9999), t278=("I", 9999)),
            "is damaged",
        ),
        "no strip": (tiff(GREY[:, :, 0], 1, t273=("I", 0)), "strips or tiles are missing"),
        "tiles": (tiff(GREY[:, :, 0], 1, **tiles, t325=("I", 9, 9)), "far larger than its image"),
        "planes": (tiff(RGB, 2, t284=("H", 9)), "planar configuration is invalid"),
        "strips without size": (tiff(GREY[:, :, 0], 1, t278=("I", 0)), "have no size"),
        "JPEG": (ifds([page], jpeg, "<", False), "a tile is larger than declared"),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    data, message = damaged()[name]
    path = tmp_path / "x.tif"
    path.write_bytes(data)
    for opened in (read, lambda path: open_rows(path).__enter__()):
        with pytest.raises(UserError, match=message) as caught:
            opened(path)
        assert caught.value.path == path


def test_invalid_values_are_found_in_their_rows(tmp_path: Path) -> None:
    path, values = tmp_path / "x.tif", np.ones((40, 9), np.float32)
    values[33, 4] = np.nan
    tifffile.imwrite(path, values, rowsperstrip=8, compression="zlib", metadata=None)
    with open_rows(path) as rows:
        assert rows.rows(0, 32).max() == 1
        with pytest.raises(UserError, match="contains 1 non-finite values") as caught:
            rows.rows(30, 40)
    assert caught.value.path == path
    with pytest.raises(UserError, match="there is no file"), open_rows(tmp_path / "y.tif"):
        pass
    with pytest.raises(UserError, match="set the domain's channels to 1"), open_rows(path, 4):
        pass
    with pytest.raises(UserError, match="more than the limit"), open_rows(path, max_pixels=9):
        pass


@pytest.mark.slow
def test_mutated_files_are_read_or_refused_as_a_whole(tmp_path: Path) -> None:
    path, random = tmp_path / "x.tif", np.random.default_rng(31)
    counts = dict.fromkeys(("read", "refused"), 0)
    for name in (*MADE, *MADE):
        values, options = MADE[name]
        tifffile.imwrite(path, values, metadata=None, **options)
        good = np.fromfile(path, np.uint8)
        for _ in range(6):
            data = good.copy()
            position = random.integers(random.choice([300, len(data)]))
            data[position] = random.integers(256)
            data.tofile(path)
            try:
                expected = read(path, max_pixels=10**6)
            except UserError:
                expected = None
            try:
                with open_rows(path, max_pixels=10**6) as rows:
                    pixels = bands(rows, 7, 30)
            except UserError:
                assert expected is None
                counts["refused"] += 1
            else:
                assert expected is not None and np.array_equal(pixels, expected)
                counts["read"] += 1
    assert min(counts.values()) > 20
