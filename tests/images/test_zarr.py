"""Test OME-Zarr: images that the package zarr wrote, and our results read by it."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from viceversa.errors import UserError
from viceversa.images import Pixels, Tags, pyramid, read, read_header, read_tags, suffix_for
from viceversa.images.formats import ome_zarr
from viceversa.images.nodata import parse_nodata
from viceversa.images.rows import open_rows
from viceversa.images.zarr_rows import create_zarr, write_image

zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")

RNG = np.random.default_rng(31)
SIZE = (75, 53)
RGB = RNG.integers(1, 256, (3, *SIZE), dtype=np.uint8)
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "nanometer"}


def made(
    folder: Path,
    values: Any = RGB,
    axes: str = "cyx",
    version: int = 3,
    scale: float = 0.5,
    chunks: tuple[int, ...] | None = None,
    **options: Any,
) -> Path:
    """Write an array with the package zarr, as OME-Zarr 0.5 or 0.4; return the folder."""
    described = [
        {"name": a, "type": "space"} | ({"unit": UNITS[a]} if a in UNITS else {}) for a in axes
    ]
    scales = [scale if a in "xy" else 1.0 for a in axes]
    datasets = [
        {"path": name, "coordinateTransformations": [{"type": "scale", "scale": scales}]}
        for name in ("full", "half")
    ]
    image = {"version": "0.4", "axes": described, "datasets": datasets}
    attributes: dict[str, Any] = {"multiscales": [image]}
    if version == 3:
        attributes = {"ome": {"version": "0.5", **attributes}}
    group = zarr.create_group(folder, zarr_format=version, attributes=attributes)
    chunks = chunks or (*[1] * (len(axes) - 2), 16, 32)
    array = group.create_array(
        "full", shape=values.shape, dtype=values.dtype, chunks=chunks, **options
    )
    array[...] = values
    group.create_array("half", shape=(1,) * len(axes), dtype="uint8")
    return folder


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def images() -> dict[str, dict[str, Any]]:
    """Return arguments of `made` by name."""
    return {
        "Zarr 3": {},
        "Zarr 2": {"version": 2},
        "Zarr 2, nested": {"version": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
        "channels last": {"values": np.moveaxis(RGB, 0, 2), "axes": "yxc", "chunks": (16, 9, 3)},
        "x before y": {"values": RGB.transpose(0, 2, 1), "axes": "cxy"},
        "five axes": {"values": RGB[None, :, None], "axes": "tczyx", "version": 2},
        "shards": {"chunks": (1, 16, 16), "shards": (3, 32, 48)},
        "one chunk": {"chunks": (3, *SIZE)},
        "large chunks": {"chunks": (1, 16, 512)},
    }


@pytest.mark.parametrize("name", images())
def test_images_of_each_layout(tmp_path: Path, name: str) -> None:
    path, expected = made(tmp_path / "x.zarr", **images()[name]), np.moveaxis(RGB, 0, 2)
    header = read_header(path)
    assert (header.height, header.width, header.channels, header.pages) == (*SIZE, 3, 1)
    assert np.array_equal(read(path), expected)
    assert read_tags(path).resolution == pytest.approx((25.4e6 / 0.5, 25.4e3 / 0.5))
    with open_rows(path) as rows:
        assert rows.rows(20, 37).flags.c_contiguous
        assert np.array_equal(rows.rows(20, 37), expected[20:37])


def test_rows_are_decoded_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ome_zarr, "ROWS", 20)
    path = made(tmp_path / "x.zarr")
    for chunk in (path / "full/c/0").iterdir():
        if int(chunk.name) >= 2:  # rows from 32 on
            for file in chunk.iterdir():
                file.write_bytes(b"damaged")
    with open_rows(path) as rows:
        assert rows.windowed and rows.together == 32
        assert np.array_equal(rows.rows(3, 32), np.moveaxis(RGB, 0, 2)[3:32])
        with pytest.raises(UserError, match=r"x\.zarr is damaged or cannot be read"):
            rows.rows(31, 33)


@pytest.mark.parametrize("dtype", ["bool", "uint16", "int16", "int32", "float32", ">u2", ">f8"])
def test_dtypes(tmp_path: Path, dtype: str) -> None:
    values = RNG.integers(0, 2, SIZE).astype(dtype)
    version = 2 if dtype[0] == ">" else 3
    pixels = read(made(tmp_path / "x.zarr", values, "yx", version))
    kept = {"bool": "uint8", ">u2": "uint16", ">f8": "float32", "int32": "float32"}
    assert pixels.dtype == kept.get(dtype, dtype) and pixels.dtype.isnative
    assert np.array_equal(pixels[:, :, 0], values * (255.0 if dtype == "bool" else 1.0))


def test_missing_chunks_have_the_fill_value(tmp_path: Path) -> None:
    path, expected = made(tmp_path / "x.zarr", fill_value=9), np.moveaxis(RGB, 0, 2).copy()
    (path / "full/c/1/0/1").unlink()
    expected[:16, 32:, 1] = 9
    assert np.array_equal(read(path), expected)


def test_values_are_checked_as_in_other_formats(tmp_path: Path) -> None:
    values = np.ones(SIZE, np.float32)
    values[40, 3] = np.nan
    path = made(tmp_path / "x.zarr", values, "yx")
    with pytest.raises(UserError, match="contains 1 non-finite values"):
        read(path)
    assert np.ma.getmaskarray(read(path, nodata=parse_nodata("nan"))).sum() == 1
    with pytest.raises(UserError, match="megapixels are more than the limit"):
        read(path, max_pixels=1000)
    with pytest.raises(UserError, match="channels"):
        read(made(tmp_path / "y.zarr"), 5)


def refused() -> dict[str, tuple[dict[str, Any], dict[str, Any], str]]:
    """Return arguments of `made`, changes of the metadata of the array, and the message."""
    two, one = {"version": 2}, {"chunks": (1, 1, 1), "values": np.zeros((1, 1, 1), np.uint8)}
    blosc = {"name": "blosc", "configuration": {}}
    shard = {
        "name": "sharding_indexed",
        "configuration": {"codecs": [{"name": "numcodecs.pickle"}]},
    }
    return {
        "stack": ({"values": RGB, "axes": "zyx"}, {}, "has 3 positions on the axis z"),
        "axes": ({"axes": "qyx"}, {}, "has the axes q, y, x"),
        "number of axes": ({}, {"shape": [75, 53]}, "is damaged"),
        "objects": (two, {"dtype": "|O"}, r"contains \|O values"),
        "records": (two, {"dtype": [["a", "<u2"]]}, "not real numbers"),
        "pickle": (two, {"filters": [{"id": "pickle"}]}, "codec pickle, which is not supported"),
        "compressor": (two, {"compressor": {"id": "json2"}}, "codec json2, which is not supported"),
        "complex": ({}, {"data_type": "complex64"}, "contains complex64 values"),
        "codec": ({}, {"codecs": ["numcodecs.pickle", blosc]}, "codec numcodecs.pickle"),
        "codec in shards": ({}, {"codecs": [shard]}, "codec numcodecs.pickle"),
        "transformers": ({}, {"storage_transformers": [{}]}, "not a supported array"),
        "group": ({}, {"node_type": "group"}, "not a supported array"),
        "large chunks": (
            {},
            {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 9999, 9999]}}},
            "far larger than its image",
        ),
        "small chunks": (one, {"shape": [3, 9999, 9999]}, "far too small for its image"),
        "without metadata": ({}, {"codecs": None}, "is damaged"),
    }


@pytest.mark.parametrize("name", refused())
def test_images_that_are_refused(tmp_path: Path, name: str) -> None:
    options, changes, message = refused()[name]
    path = made(tmp_path / "x.zarr", **options)
    edit(path / "full" / (".zarray" if options.get("version") == 2 else "zarr.json"), **changes)
    for opened in (read, read_header, lambda path: open_rows(path).__enter__()):
        with pytest.raises(UserError, match=message) as caught:
            opened(path, max_pixels=10**9) if opened is read else opened(path)
        assert caught.value.path == path and "\n" not in str(caught.value)


def test_metadata_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "x.zarr")
    good = (path / "zarr.json").read_text()
    for text, message in (
        ("{", "is not JSON"),
        ("[]", "is damaged"),
        ("{}", "is not an OME-Zarr image, but may contain images"),
        (good.replace('"full"', '"none"'), "it has no file none/zarr.json"),
        (good.replace('"full"', '"../y.zarr/full"'), "refers to a file outside of its folder"),
        (good.replace('"axes"', '"other"'), "before 0.4"),
    ):
        made_again = made(tmp_path / "y.zarr") if "y.zarr" in text else path
        assert made_again.exists()
        (path / "zarr.json").write_text(text)
        with pytest.raises(UserError, match=message) as caught:
            read(path)
        assert caught.value.path == path
    (path / "zarr.json").unlink()
    with pytest.raises(UserError, match=r"is not an OME-Zarr: .* no zarr\.json or \.zattrs"):
        read(path)
    with pytest.raises(UserError, match="there is no file"):
        read(tmp_path / "none.zarr")
    monkeypatch.setattr(ome_zarr, "MOST_METADATA", 100)
    with pytest.raises(UserError, match="too large for metadata"):
        read(tmp_path / "y.zarr")


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    path, other = made(tmp_path / "x.zarr"), made(tmp_path / "other.zarr")
    chunk = path / "full/c/0/0/0"
    chunk.unlink()
    chunk.symlink_to(path / "full/c/0/0/1")  # within the folder
    assert read(path).shape == (*SIZE, 3)
    chunk.unlink()
    chunk.symlink_to(other / "full/c/0/0/0")
    with pytest.raises(UserError, match="refers to a file outside of its folder: full/c/0/0/0"):
        read(path)
    chunk.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(chunk)  # reading it would block
        with pytest.raises(UserError, match="is not a regular file"):
            read(path)
        chunk.unlink()
    (path / "zarr.json").unlink()
    (path / "zarr.json").symlink_to(other / "zarr.json")
    with pytest.raises(UserError, match=r"refers to a file outside of its folder: zarr\.json"):
        read(path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make chunks and the smallest levels small."""
    monkeypatch.setattr(pyramid, "TILE", 32)
    monkeypatch.setattr(pyramid, "SMALLEST", 40)


def save(path: Path, pixels: Pixels, **options: Any) -> None:
    height, width, channels = pixels.shape
    with create_zarr(path, (height, width, channels), pixels.dtype, **options) as rows:
        for start in range(0, height, 19):
            rows.write(pixels[start : start + 19])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_results_have_levels(tmp_path: Path, dtype: str, channels: int) -> None:
    path = tmp_path / "new" / "x.ome.zarr"
    pixels = RNG.integers(0, 128, (75, 53, channels)).astype(dtype)
    save(path, pixels, tags=Tags(resolution=(50800.0, 25400.0)))
    assert np.array_equal(read(path), pixels) and read(path).dtype == dtype
    assert read_tags(path).resolution == (50800.0, 25400.0)
    group = zarr.open_group(path, mode="r", zarr_format=3)
    ome = group.attrs["ome"]
    (image,) = ome["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["c", "y", "x"]
    assert [axis.get("unit") for axis in image["axes"]] == [None, "micrometer", "micrometer"]
    found = [
        (one["path"], one["coordinateTransformations"][0]["scale"]) for one in image["datasets"]
    ]
    assert found == [("0", [1.0, 1.0, 0.5]), ("1", [1.0, 2.0, 1.0])]
    full, half = (group[name] for name, _ in found)
    assert np.array_equal(full[...], np.moveaxis(pixels, 2, 0)) and full.chunks[1:] == (32, 32)
    expected = np.moveaxis(pyramid.halved(pixels), 2, 0)
    assert half.dtype == dtype and np.array_equal(half[...], expected)
    assert half.metadata.dimension_names == ("c", "y", "x")
    colours = [one["color"] for one in ome.get("omero", {}).get("channels", [])]
    assert colours == ["FF0000", "00FF00", "0000FF"] * (channels == 3 and dtype[0] == "u")


@pytest.mark.usefixtures("small")
def test_levels_without_averages(tmp_path: Path) -> None:
    """Classes are not averaged, and pixels without data are left out."""
    pixels = np.full((42, 40, 1), 100, np.uint8)
    pixels[0, 0] = 7
    for options, first in ((Tags(), 7), (Tags(nodata="7"), 100)):
        write_image(tmp_path / "x.zarr", pixels, options, labels=first == 7)
        half = zarr.open_array(tmp_path / "x.zarr/1", mode="r")[0]
        assert half[0, 0] == first and (half[1:] == 100).all()


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("old", [True, False])
def test_an_exception_leaves_the_old_image(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "x.zarr"
    pixels = np.moveaxis(RGB, 0, 2)
    if old:
        made(path)
    with pytest.raises(Interrupted), create_zarr(path, (*SIZE, 3), "uint8") as rows:
        rows.write(pixels[:70])
        raise Interrupted
    with (
        pytest.raises(ValueError, match=r"5 rows of .*x\.zarr are missing"),
        create_zarr(path, (*SIZE, 3), "uint8") as rows,
    ):
        rows.write(pixels[:70])
    assert os.listdir(tmp_path) == ["x.zarr"] * old
    if old:
        assert np.array_equal(read(path), pixels)
        write_image(path, pixels[:30])
        assert np.array_equal(read(path), pixels[:30]) and not (path / "full").exists()
        assert os.listdir(tmp_path) == ["x.zarr"]


def test_other_folders_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    path.mkdir()
    (path / "thesis.txt").write_text("three years")
    with pytest.raises(UserError, match="already exists and is not an OME-Zarr") as caught:
        write_image(path, np.moveaxis(RGB, 0, 2))
    assert caught.value.path == path and os.listdir(path) == ["thesis.txt"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"x\.zarr could not be written"):
        write_image(tmp_path / "file" / "x.zarr", np.moveaxis(RGB, 0, 2))


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = importlib.import_module("zarr.storage._local")
    path = tmp_path / "x.zarr"

    def full(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(UserError, match=r"x\.zarr could not be written: the disk is full") as caught,
        create_zarr(path, (*SIZE, 3), "uint8") as rows,
    ):
        monkeypatch.setattr(storage, "_put", full)
        rows.write(np.moveaxis(RGB, 0, 2))
    assert caught.value.path == path and not os.listdir(tmp_path)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    path = tmp_path / "x.zarr"
    path.mkdir()
    (path / "zarr.json").write_text("{}")
    for work in (lambda: read(path), lambda: write_image(path, np.zeros((2, 2, 1), np.uint8))):
        with pytest.raises(UserError, match=r"pip install 'viceversa\[zarr\]'"):
            work()


def test_results_of_zarr_are_zarr() -> None:
    assert suffix_for(".zarr", ("float32", 9)) == ".zarr"
