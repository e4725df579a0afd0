"""Test metadata of image files: colour profiles and georeferencing tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from viceversa.images import Tags, read, read_tags, to_bytes, write

GEO: list[tuple[int, str, int, Any]] = [
    (33550, "d", 3, (10.0, 10.0, 0.0)),
    (33922, "d", 6, (0.0, 0.0, 0.0, 5e5, 4.6e6, 0.0)),
    (34264, "d", 16, tuple(map(float, range(16)))),
    (34735, "H", 8, (1, 1, 0, 1, 1024, 0, 1, 1)),
    (34736, "d", 2, (6378137.0, 298.25)),
    (34737, "s", 0, "WGS 84 / UTM zone 33N|"),
]
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RGB = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


def codes(path: Path) -> dict[int, Any]:
    with tifffile.TiffFile(path) as file:
        return {tag.code: tag.value for tag in file.pages[0].tags}


def test_geometry_tags_are_read_and_written_with_their_types(tmp_path: Path) -> None:
    tags = [(*tag, True) for tag in GEO]
    tifffile.imwrite(tmp_path / "x.tif", RGB, photometric="rgb", byteorder=">", extratags=tags)
    result = read_tags(tmp_path / "x.tif")
    assert [code for code, *_ in result.geometry] == [code for code, *_ in GEO]
    write(tmp_path / "y.tif", RGB[:, :, :1].astype("float32"), result)
    kept = codes(tmp_path / "y.tif")
    for code, _, _, value in GEO:
        assert kept[code] == value
    assert read_tags(tmp_path / "y.tif").geometry == result.geometry


def test_geometry_of_a_rotated_image_is_not_read(tmp_path: Path) -> None:
    for orientation, count in ((1, 6), (6, 0), (3, 0)):
        tags = [*((*tag, True) for tag in GEO), (274, "H", 1, orientation, True)]
        tifffile.imwrite(tmp_path / "x.tif", RGB, photometric="rgb", extratags=tags)
        assert len(read_tags(tmp_path / "x.tif").geometry) == count


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_profiles_are_read_and_written(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"pillow{suffix}", icc_profile=ICC)
    assert read_tags(tmp_path / f"pillow{suffix}").icc == ICC
    write(tmp_path / f"ours{suffix}", RGB, Tags(icc=ICC))
    with Image.open(tmp_path / f"ours{suffix}") as image:
        assert image.info["icc_profile"] == ICC
        assert image.convert("RGB").size == (10, 12)
    assert read_tags(tmp_path / f"ours{suffix}").icc == ICC
    write(tmp_path / f"none{suffix}", RGB)
    with Image.open(tmp_path / f"none{suffix}") as image:
        assert "icc_profile" not in image.info
    assert read_tags(tmp_path / f"none{suffix}") == Tags()


def test_profile_of_a_16_bit_png(tmp_path: Path) -> None:
    sixteen = RGB.astype(np.uint16) * 257
    write(tmp_path / "x.png", sixteen, Tags(icc=ICC))
    assert read_tags(tmp_path / "x.png").icc == ICC
    assert np.array_equal(read(tmp_path / "x.png"), sixteen)
    with Image.open(tmp_path / "x.png") as image:
        assert image.info["icc_profile"] == ICC


def test_profile_in_several_segments(tmp_path: Path) -> None:
    long = ICC[:16] + bytes(150_000)
    Image.fromarray(RGB).save(tmp_path / "x.jpg", icc_profile=long)
    assert read_tags(tmp_path / "x.jpg").icc == long


def test_damaged_profiles_are_ignored(tmp_path: Path) -> None:
    data = to_bytes(RGB, ".png", Tags(icc=ICC))
    start = data.index(b"iCCP")
    (tmp_path / "x.png").write_bytes(data[: start + 20] + b"\xff" * 9 + data[start + 29 :])
    assert read_tags(tmp_path / "x.png").icc == b""
    assert np.array_equal(read(tmp_path / "x.png"), RGB)
    (tmp_path / "x.png").write_bytes(to_bytes(RGB, ".png", Tags(icc=bytes(2**17))))
    assert read_tags(tmp_path / "x.png").icc == b""  # larger than the limit


def test_formats_without_metadata(tmp_path: Path) -> None:
    all_tags = Tags(ICC, "<GDALMetadata/>", "-9999", read_tags_of_geo(tmp_path))
    for suffix in (".bmp", ".npy"):
        write(tmp_path / f"x{suffix}", RGB, all_tags)
        assert read_tags(tmp_path / f"x{suffix}") == Tags()
        assert np.array_equal(read(tmp_path / f"x{suffix}"), RGB)
    write(tmp_path / "x.tif", RGB, all_tags)
    assert read_tags(tmp_path / "x.tif") == all_tags
    kept = codes(tmp_path / "x.tif")
    assert kept[42113] == "-9999" and kept[42112] == "<GDALMetadata/>" and kept[34675] == ICC


def read_tags_of_geo(tmp_path: Path) -> Any:
    tags = [(*tag, True) for tag in GEO]
    tifffile.imwrite(tmp_path / "geo.tif", RGB, photometric="rgb", extratags=tags)
    return read_tags(tmp_path / "geo.tif").geometry
