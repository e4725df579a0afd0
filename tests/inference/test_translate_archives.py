"""Translate images in archives, which are read in place."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from support import raises_user_error
from test_translate_files import digests, run, times
from test_translator import model, put

from viceversa.inference import expand, plan
from viceversa.inference.record import NAME


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    return model(tmp_path / "model")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "sub/a.png", "sub/b.png")):
        put(tmp_path / "in" / name, number)
    (tmp_path / "in" / "scan.dcm").write_text("not an image that is read")
    return tmp_path / "in"


def packed(folder: Path, path: Path) -> Path:
    """Write the files of a folder to an archive."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
    else:
        with tarfile.open(path, "w") as tar:
            for file in files:
                tar.add(file, file.relative_to(folder))
    return path


@pytest.mark.parametrize("name", ["photos.zip", "PHOTOS.TAR"])
def test_results_of_an_archive_are_those_of_its_folder(
    name: str, unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, unet, images, "-o", tmp_path / "expected")
    archive, out = packed(images, tmp_path / name), tmp_path / "out"
    printed = run(capsys, unet, archive, "-o", out)
    assert "3 of 4 images translated" in printed and f"{archive}/scan.dcm" in printed
    assert digests(out) == digests(tmp_path / "expected")
    before = times(out)
    assert "3 were translated before" in run(capsys, unet, archive, "-o", out, "--resume")
    put(images / "sub" / "b.png", 9)
    archive = packed(images, archive)
    assert "1 of 4 images translated" in run(capsys, unet, archive, "-o", out, "--resume")
    assert times(out) == before


def test_a_glob_names_archives_and_images(images: Path, tmp_path: Path) -> None:
    packed(images / "sub", tmp_path / "shard-1.tar")
    put(tmp_path / "shard-2.png")
    found = expand([str(tmp_path / "shard-*")])
    assert sorted(str(name) for _, name in found.files) == ["a.png", "b.png", "shard-2.png"]
    with raises_user_error() as caught:  # two archives with one name
        packed(images / "sub", tmp_path / "shard-3.tar")
        plan(expand([str(tmp_path / "shard-*")]).files, tmp_path / "out", lambda suffix: suffix)
    assert "would both become" in str(caught.value)


def test_members_that_cannot_be_used_are_errors_of_these_members(
    unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = packed(images, tmp_path / "photos.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(images / "a.png", "../outside.png")
        archive.writestr("damaged.png", b"damaged")
    printed = run(capsys, unet, path, "-o", tmp_path / "out", code=2)
    assert "outside.png: a name that leads out of its archive" in printed
    assert f"{path}/damaged.png is not an image" in printed and "3 of 5 images" in printed
    files = {"a.png", "sub/a.png", "sub/b.png", NAME}
    assert digests(tmp_path / "out").keys() == files


@pytest.mark.parametrize("name", ["damaged.zip", "empty.tar", "packed.tar.gz"])
def test_an_archive_that_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"damaged")
    if name == "empty.tar":
        tarfile.open(path, "w").close()
    with raises_user_error(path=path):
        expand([str(path)])
