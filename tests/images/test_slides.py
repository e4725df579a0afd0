"""Test slides: OpenSlide reads the pixels that were written to an Aperio file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import ImageCms

from viceversa.errors import UserError
from viceversa.images import Pixels, read, read_header, read_tags, suffix_for
from viceversa.images.formats import slides
from viceversa.images.rows import open_rows

SIZE, TILE = (500, 300), 240
PIXELS = np.random.default_rng(29).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ABOUT = f"Aperio Image Library v11\r\n300x500 [0,0 300x500] ({TILE}x{TILE})|AppMag = 20"


def tiles(pixels: Pixels, missing: int | None) -> Iterator[Pixels | None]:
    corners = ((y, x) for y in range(0, SIZE[0], TILE) for x in range(0, SIZE[1], TILE))
    for number, (y, x) in enumerate(corners):
        yield None if number == missing else pixels[y : y + TILE, x : x + TILE]


def slide(path: Path, missing: int | None = None) -> Path:
    """Write a slide with a thumbnail and a level of lower resolution, as Aperio does: as pages."""
    pytest.importorskip("openslide", exc_type=ImportError)
    options: dict[str, Any] = {
        "photometric": "rgb",
        "compression": "deflate",
        "description": ABOUT,
        "metadata": None,
    }
    tile = (TILE, TILE)
    with tifffile.TiffWriter(path) as file:
        data = tiles(PIXELS, missing)
        file.write(data, shape=PIXELS.shape, dtype="uint8", tile=tile, iccprofile=ICC, **options)
        file.write(PIXELS[::4, ::4].copy(), **options)
        file.write(PIXELS[::4, ::4].copy(), tile=tile, **options)
    return path


def test_the_level_of_full_size_is_read_by_bands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slides, "COLUMNS", 128)
    path = slide(tmp_path / "x.SVS")
    header = read_header(path)
    assert (header.height, header.width, header.channels, header.pages) == (*SIZE, 3, 1)
    assert np.array_equal(read(path), PIXELS) and read_tags(path).icc == ICC
    assert read(path, 1).shape == (*SIZE, 1)
    with open_rows(path) as rows:
        assert rows.windowed and rows.together == TILE and rows.dtype == np.uint8
        for start, end in ((0, 7), (230, 250), (479, 500), (0, 500)):
            assert np.array_equal(rows.rows(start, end), PIXELS[start:end])
    with pytest.raises(UserError, match="megapixels are more than the limit"):
        read(path, max_pixels=1000)
    with pytest.raises(UserError, match="class indices need one channel"):
        read(path, indices=True)
    monkeypatch.setitem(sys.modules, "openslide", None)  # a page of the TIFF needs no OpenSlide
    assert np.array_equal(read(path, pages="0"), PIXELS)


def test_missing_tiles_are_white(tmp_path: Path) -> None:
    path, expected = slide(tmp_path / "x.svs", missing=3), PIXELS.copy()
    expected[240:480, 240:] = 255
    assert np.array_equal(read(path), expected)


def test_damaged_slides_are_refused(tmp_path: Path) -> None:
    path = slide(tmp_path / "x.svs")
    data = bytearray(path.read_bytes())
    path.write_bytes(b"x" * 100)
    for opened in (read, read_header, lambda path: open_rows(path).__enter__()):
        with pytest.raises(UserError, match="is not a slide in a format") as caught:
            opened(path)
        assert caught.value.path == path
    with tifffile.TiffFile(slide(path)) as file:
        start, size = file.pages[0].dataoffsets[5], file.pages[0].databytecounts[5]
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    with open_rows(path) as rows:
        assert np.array_equal(rows.rows(0, 240), PIXELS[:240])
        with pytest.raises(UserError, match=r"x\.svs is damaged or cannot be read"):
            rows.rows(470, 490)
    with pytest.raises(UserError, match="there is no file"):
        read(tmp_path / "y.svs")


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    path = tmp_path / "x.svs"
    path.write_bytes(b"II*\0" + bytes(100))
    with pytest.raises(UserError, match=r"pip install 'viceversa\[slides\]'"):
        read_header(path)


def test_results_of_slides_are_tiff() -> None:
    assert suffix_for(".svs", ("uint8", 3)) == suffix_for(".NDPI", ("uint8", 1)) == ".tif"
