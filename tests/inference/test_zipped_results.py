"""Write results to a .zip file: as in a folder, completely or not at all, and resumable."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from support import fork, raises_user_error
from test_translate_files import digests, run
from test_translator import model, put

from viceversa.cli import main
from viceversa.cli.translate_options import TranslateOptions
from viceversa.cli.translation import run_on_images
from viceversa.inference.record import NAME
from viceversa.inference.zipped import collecting_folder


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    return model(tmp_path / "model")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "sub/a.jpg", "b.bmp")):
        put(tmp_path / "in" / name, number)
    return tmp_path / "in"


def members(path: Path) -> dict[str, str]:
    """Return the SHA-256 of each member."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


@pytest.fixture
def expected(
    unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> dict[str, str]:
    """Return the results of a translation to a folder."""
    run(capsys, unet, images, "-o", tmp_path / "expected")
    return digests(tmp_path / "expected")


def test_a_zip_contains_what_a_folder_would(
    unet: Path,
    images: Path,
    expected: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "results" / "all.zip"
    words = (unet, images, "-o", out)
    assert f"3 of 3 images translated to {out}\n" in run(capsys, *words)
    assert members(out) == expected and [*out.parent.iterdir()] == [out]
    with zipfile.ZipFile(out) as archive:
        kinds = {info.filename: info.compress_type for info in archive.infolist()}
    stored = {name for name, kind in kinds.items() if kind == zipfile.ZIP_STORED}
    assert stored == {"a.png", "sub/a.jpg"}
    assert f"{out} is there already" in run(capsys, *words, code=2)
    put(images / "b.bmp", 9)
    assert "2 were translated before" in run(capsys, *words, "--resume")
    changed = members(out)
    assert changed != expected and [*out.parent.iterdir()] == [out]
    (images / "b.bmp").unlink()  # results of other images stay, as in a folder
    run(capsys, *words, "--resume")
    assert members(out) == changed
    assert "2 of 2" in run(capsys, *words, "--overwrite")
    assert members(out).keys() == expected.keys() - {"b.bmp"}


def test_an_interrupted_zip_is_resumed(
    unet: Path,
    images: Path,
    expected: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "all.zip"
    words = (unet, images, "-o", out, "--batch_size", "1")

    def killed(pipe: int) -> None:
        real, left = Path.replace, [2]

        def replace(self: Path, target: Path) -> Path:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), 9)
            return real(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        main(["translate", *map(str, words), "--device", "cpu"])

    assert fork(killed).wait(60) == -9
    folder = collecting_folder(out)
    assert len(list(folder.rglob("*.tmp"))) == 1 and not out.exists()
    assert f"{folder} is there already" in run(capsys, *words, code=2)
    assert "1 of 3" in run(capsys, *words, "--resume")
    assert members(out).keys() == expected.keys() and not folder.exists()
    results = {name: digest for name, digest in members(out).items() if name != NAME}
    assert results.items() <= expected.items()


def test_without_space_for_the_zip_the_results_are_kept(
    unet: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "all.zip"
    out.write_bytes(b"earlier")

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words = (unet, images, "-o", out)
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "write", fail)
        printed = run(capsys, *words, "--overwrite", code=2)
    assert f"{out} could not be written: the disk is full" in printed
    assert out.read_bytes() == b"earlier"
    printed = run(capsys, *words, "--resume", code=2)
    assert f"{out} cannot be resumed: File is not a zip file" in printed
    out.unlink()
    assert "3 were translated before" in run(capsys, *words, "--resume")
    assert len(members(out)) == 4


def test_images_that_fail_are_left_out(
    unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "a.png").write_bytes(b"damaged")
    out = tmp_path / "all.zip"
    printed = run(capsys, unet, images, "-o", out, code=2)
    assert "2 of 3 images translated" in printed and "a.png" in printed
    assert members(out).keys() == {NAME, "sub/a.jpg", "b.bmp"}
    for name in ("sub/a.jpg", "b.bmp"):
        (images / name).write_bytes(b"damaged")
    other = tmp_path / "none.zip"
    run(capsys, unet, images, "-o", other, code=2)
    assert not other.exists() and not collecting_folder(other).exists()


def test_an_archive_is_translated_to_another_but_not_to_itself(
    unet: Path, images: Path, tmp_path: Path
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", images))
    before, options = archive.read_bytes(), TranslateOptions(device="cpu", overwrite=True)
    with raises_user_error("--out", archive):
        run_on_images(unet, [str(archive)], archive, options)
    assert archive.read_bytes() == before
    run_on_images(unet, [str(archive)], tmp_path / "results.zip", options)
    assert members(tmp_path / "results.zip").keys() == {NAME, "a.png", "sub/a.jpg", "b.bmp"}


def test_a_hostile_zip_writes_nothing_outside_of_its_folder(
    unet: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "all.zip"
    out.parent.mkdir()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../outside.png", b"")
        archive.writestr(f"{tmp_path}/absolute.png", b"")
    run_on_images(unet, [str(images)], out, TranslateOptions(device="cpu", resume=True))
    assert not (tmp_path / "deep" / "outside.png").exists()
    assert not (tmp_path / "absolute.png").exists()
    assert len(members(out)) == 4


def test_one_zip_cannot_be_shared_by_processes(
    unet: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with raises_user_error("--out"):
        run_on_images(unet, [str(images)], tmp_path / "all.zip", TranslateOptions(device="cpu"))
