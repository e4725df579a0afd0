"""Translate OME-Zarr: a folder is one image, and one result."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support import small_model
from test_large_images import HEIGHT, WIDTH, both, difference
from test_translate_files import run
from test_translator import eight_bit, model, noise, put

from viceversa.cli import main
from viceversa.errors import UserError
from viceversa.files import remove_temporary_of
from viceversa.images import Tags, read, read_tags, write
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.zarr_rows import write_image
from viceversa.inference import Translator, expand, plan

zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    return model(tmp_path / "model")


def image(path: Path, seed: int = 0, height: int = 40, width: int = 32) -> Path:
    write_image(path, noise(seed, height, width), Tags(resolution=(25400.0, 50800.0)))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ending"), [("x.tif", ".ome.zarr"), ("x.zarr", ".tif"), ("x.zarr", ".zarr")]
)
def test_bands_give_the_result_of_the_whole_image(
    unet: Path, tmp_path: Path, name: str, ending: str
) -> None:
    pixels = noise(1, HEIGHT, WIDTH)
    pixels[30:] //= 4  # the statistics of bands differ
    tags = Tags(resolution=(25400.0, 50800.0))
    (write_image if name == "x.zarr" else write)(tmp_path / name, pixels, tags)
    whole, banded = both(unet, tmp_path / name, ending)
    assert difference(whole, banded) <= 1
    for path in (whole, banded):
        assert read_tags(path).resolution == pytest.approx((25400, 50800))
    assert not [path for path in tmp_path.iterdir() if "tmp" in path.name]


@pytest.mark.slow
def test_commands(unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, result = image(tmp_path / "x.ome.zarr"), tmp_path / "y.ome.zarr"
    expected = Translator.load(unet, "cpu")(read(source))
    assert "1 image" in run(capsys, unet, source, "-o", result)
    assert np.array_equal(read(result), expected)
    assert zarr.open_array(result / "0", mode="r").shape == (3, 40, 32)
    assert "is there already" in run(capsys, unet, source, "-o", result, code=2)
    image(source, 1)
    run(capsys, unet, source, "-o", result, "--overwrite")
    assert not np.array_equal(read(result), expected)
    run(capsys, unet, source, "-o", tmp_path / "z.tif")
    assert np.array_equal(read(tmp_path / "z.tif"), read(result))
    run(capsys, unet, tmp_path / "z.tif", "-o", tmp_path / "folder", "--format", "zarr")
    assert read(tmp_path / "folder/z.zarr").shape == (40, 32, 3)
    message = run(capsys, unet, source, "-o", source, "--overwrite", code=2)
    assert "would overwrite a file to translate" in message


@pytest.mark.slow
def test_translations_are_resumed(
    unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, result = image(tmp_path / "x.zarr"), tmp_path / "out/x.zarr"
    words = (unet, source, "-o", tmp_path / "out", "--resume")
    assert "translated before" not in run(capsys, *words)
    assert "1 were translated before" in run(capsys, *words)
    chunk = result / "0/c/0/0/0"
    before = chunk.read_bytes()
    chunk.write_bytes(b"damaged")
    assert "translated before" not in run(capsys, *words) and chunk.read_bytes() == before
    image(source, 2)
    assert "translated before" not in run(capsys, *words)


def test_a_folder_of_images_may_contain_some(unet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for path in (image(folder / "a.zarr"), image(folder / "sub/b.ome.zarr"), put(folder / "c.png")):
        assert path.exists()
    names = {"a.zarr", "sub/b.ome.zarr", "c.png"}
    found = expand([str(folder)])
    assert {name.as_posix() for _, name in found.files} == names and not found.unread
    assert [path.name for path, _ in expand([str(folder / "*")]).files] == ["a.zarr", "c.png"]
    (folder / "a.zarr").rename(tmp_path / "0")  # as images in a collection are named
    assert expand([str(tmp_path / "0")]).files == [(tmp_path / "0", Path("0"))]
    results = plan(found.files, tmp_path / "out", Translator.load(unet, "cpu").suffix)
    assert {path.relative_to(tmp_path / "out").as_posix() for _, path in results} == names


def test_a_result_replaces_no_image_to_translate(unet: Path, tmp_path: Path) -> None:
    inner = image(tmp_path / "plate.zarr" / "0.zarr").rename(tmp_path / "plate.zarr" / "0")
    (tmp_path / "plate.zarr" / "zarr.json").write_text("{}")
    for out in ("plate.zarr", "other.zarr"):
        files = expand([str(inner)]).files
        if out == "other.zarr":  # control
            assert plan(files, tmp_path / out, str, overwrite=True)
            continue
        with pytest.raises(UserError, match="would overwrite a file to translate"):
            plan(files, tmp_path / out, str, overwrite=True)


def test_classes_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = Domain(DomainConfig(kind="labels", ids=4), "uint8", (0.0,), (255.0,))
    file = small_model(tmp_path, eight_bit(3), classes)
    run(capsys, file, image(tmp_path / "x.zarr"), "-o", tmp_path / "y.zarr")
    pixels = read(tmp_path / "y.zarr")
    assert pixels.shape == (40, 32, 1) and pixels.max() < 4


def test_standard_output_is_a_tiff(
    unet: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    source = image(tmp_path / "x.zarr")
    main(["translate", str(unet), str(source), "-o", "-", "--device", "cpu"])
    (tmp_path / "y.tif").write_bytes(capfdbinary.readouterr().out)
    assert tifffile.imread(tmp_path / "y.tif").shape == (40, 32, 3)


def test_folders_of_killed_processes_are_removed(tmp_path: Path) -> None:
    path, other = tmp_path / "x.zarr", tmp_path / "y.zarr.999999999.tmp"
    left = tmp_path / "x.zarr.999999999.tmp" / "new"
    left.mkdir(parents=True)
    (left / "zarr.json").touch()
    other.mkdir()
    remove_temporary_of([path])
    assert os.listdir(tmp_path) == [other.name]


def test_without_the_package(
    unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    put(tmp_path / "x.png")
    for words in (["-o", tmp_path / "y.zarr"], ["-o", tmp_path / "out", "--format", "zarr"]):
        message = run(capsys, unet, tmp_path / "x.png", *words, code=2)
        assert "pip install 'viceversa[zarr]'" in message
