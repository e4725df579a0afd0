"""Test TIFF files that tifffile writes as pages: channels in the last axis, and stacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from viceversa.errors import UserError
from viceversa.images import read, write
from viceversa.images.domain import DomainConfig
from viceversa.images.loading import load
from viceversa.images.sources import Source

RNG = np.random.default_rng(4)


def saved(path: Path, array: Any, **options: Any) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


def noise(*shape: int, dtype: str = "uint16") -> Any:
    return RNG.integers(0, 1000, shape).astype(dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64", "int32"])
@pytest.mark.parametrize("channels", [2, 5, 6, 13])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"byteorder": ">"}]
)
def test_last_axis_is_channels_if_the_domain_has_that_number(
    tmp_path: Path, dtype: str, channels: int, options: dict[str, Any]
) -> None:
    array = noise(9, 7, channels, dtype=dtype) % 250
    path = saved(tmp_path / "x.tif", array, **options)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 9  # negative control: stored as 9 pages
    pixels = read(path, channels)
    assert pixels.shape == (9, 7, channels) and np.array_equal(pixels, array)
    config = DomainConfig(channels=channels, range="0,1000")
    assert np.array_equal(load(Source(path), config), array)


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_ambiguous_arrays_are_refused_with_both_interpretations(
    tmp_path: Path, channels: int | None
) -> None:
    path = saved(tmp_path / "x.tif", noise(9, 7, 6))
    with pytest.raises(UserError) as caught:
        read(path, channels)
    assert "x.tif contains an array of shape (9, 7, 6)" in str(caught.value)
    assert "one image of 7x9 with 6 channels or 9 pages of 6x7" in str(caught.value)
    assert "channels to 6" in str(caught.value) and "pages" in str(caught.value)


def test_stacks_are_read_as_pages(tmp_path: Path) -> None:
    stack = noise(3, 8, 9)
    path = saved(tmp_path / "x.tif", stack, photometric="minisblack")
    assert np.array_equal(read(path, 3, pages="bands"), np.moveaxis(stack, 0, 2))
    assert np.array_equal(read(path, 1, pages="2")[:, :, 0], stack[2])
    cube = noise(6, 6, 6)  # both interpretations fit: the settings decide
    path = saved(tmp_path / "cube.tif", cube)
    assert np.array_equal(read(path, 6, pages="bands"), np.moveaxis(cube, 0, 2))
    assert np.array_equal(read(path, 6), cube)
    imagej = saved(tmp_path / "j.tif", cube, imagej=True)
    ome = saved(tmp_path / "o.ome.tif", cube)
    axes = saved(tmp_path / "a.tif", cube, metadata={"axes": "ZYX"})
    for path in (imagej, ome, axes):  # the file names its axes, of which the last is X
        assert np.array_equal(read(path, 6, pages="bands"), np.moveaxis(cube, 0, 2))
        with pytest.raises(UserError, match="has 6 pages"):
            read(path, 6)
    named = saved(tmp_path / "n.tif", noise(5, 6, 4), metadata={"axes": "YXC"})
    assert read(named).shape == (5, 6, 4)


def test_pages_of_several_channels(tmp_path: Path) -> None:
    array = noise(2, 9, 7, 5, dtype="float32")
    path = saved(tmp_path / "x.tif", array)
    assert np.array_equal(read(path, 5, pages="1"), array[1])
    assert np.array_equal(read(path, 10, pages="bands")[:, :, 5:], array[1])
    assert read(path, 18, pages="bands").shape == (7, 5, 18)
    with pytest.raises(UserError, match="has 2 pages or frames"):
        read(path, 5)
    with pytest.raises(UserError, match="2 images of 7x9 with 5 channels or 18 pages of 5x7"):
        read(path, 3)


def test_shape_that_does_not_match_the_pages_is_ignored(tmp_path: Path) -> None:
    """Two arrays in one file, and descriptions that tifffile did not write, are pages."""
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(noise(9, 7, 6), contiguous=False)
        file.write(noise(9, 7, 6), contiguous=False)
    with pytest.raises(UserError, match="has 18 pages"):
        read(tmp_path / "two.tif", 6)
    for text in ('{"shape": [3, 8, 8]}', '{"shape": "x"}', '{"shape": [0, 1, 9]}', '{"shape": '):
        saved(
            tmp_path / "x.tif",
            noise(3, 8, 9),
            metadata=None,
            description=text,
            photometric="minisblack",
        )
        with pytest.raises(UserError, match="has 3 pages"):
            read(tmp_path / "x.tif", 9)


def test_common_shapes(tmp_path: Path) -> None:
    for shape, kind in (
        ((8, 9), "minisblack"),
        ((8, 9, 1), "minisblack"),
        ((1, 8, 9), "minisblack"),
        ((8, 9, 3), "rgb"),
        ((8, 9, 4), "rgb"),
    ):
        array = noise(*shape)
        path = saved(tmp_path / "x.tif", array, photometric=kind)
        assert read(path, shape[2] if len(shape) == 3 and shape[0] == 8 else 1).size == array.size
    six = noise(8, 9, 6)
    write(tmp_path / "own.tif", six)
    assert np.array_equal(read(tmp_path / "own.tif"), six)
