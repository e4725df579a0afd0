"""Runs that are resumed after their data changed; changes are detected by contents."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import (
    checkpoint_state,
    command_error,
    identical,
    log_lines,
    newest_checkpoint,
    option_arguments,
    raises_user_error,
    train_until_crash,
)

from viceversa.checkpoint import load_state, save_state
from viceversa.cli import main
from viceversa.config.command_line import train_settings
from viceversa.config.run import RunConfig
from viceversa.training.log import Log

IMAGES = 6
CHANGED = "the training images changed since the checkpoint: "


def write_image(path: Path, seed: int, width: int = 18) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (18, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_data(root: Path, images: int = IMAGES, first_seed: int = 0) -> Path:
    for number in range(images):
        write_image(root / "train" / "A" / f"{number}.png", first_seed + number)
        write_image(root / "train" / "B" / f"{number}.png", first_seed + number + 500)
    for number in range(2):
        for domain in "AB":
            write_image(root / "val" / domain / f"{number}.png", ord(domain) + number)
    return root


class StoppedRun:
    """A run that was stopped in its second epoch, and its data. Calling it resumes the run."""

    def __init__(self, folder: Path, method: str = "pix2pix", at: int = 9, **more: str):
        self.folder, self.method, self.more = folder, method, more
        self.data, self.run = write_data(folder / "sets" / "data"), folder / "run"
        train_until_crash(pytest.MonkeyPatch(), at + 1, self.settings(self.data))
        assert newest_checkpoint(self.run).stem == f"{at:010d}"

    def arguments(self, data: Path) -> list[str]:
        options = {
            "generator.width": 2,
            "generator.depth": 2,
            "discriminator.width": 2,
            "discriminator.layers": 1,
            "data.load_size": 18,
            "data.crop_size": 16,
            "data.workers": 0,
            "train.run": self.run,
            "train.epochs": 3,
            "train.device": "cpu",
            "train.precision": "fp32",
            "train.save_every": 3,
            "train.log_every": 100,
            "validate.every": 6,
            "train.samples": 0,
            **self.more,
        }
        if self.method == "cyclegan":
            options |= {"generator.name": "unet"}
        return ["train", self.method, str(data), *option_arguments(options)]

    def settings(self, data: Path) -> RunConfig:
        config: RunConfig = train_settings(self.method, self.arguments(data)[2:])
        return config

    def __call__(self, data: Path | None = None) -> None:
        main(self.arguments(data or self.data))

    def refused(self, capsys: pytest.CaptureFixture[str], data: Path | None = None) -> str:
        before = {path: path.read_bytes() for path in self.run.rglob("*.safetensors")}
        message = command_error(capsys, *self.arguments(data or self.data))
        assert {path: path.read_bytes() for path in self.run.rglob("*.safetensors")} == before
        return message

    def processed(self) -> int:
        """Return the images processed, which log, checkpoint and machine.json must agree on."""
        last = max(int(line["images"]) for line in log_lines(self.run, "train"))
        assert last == int(newest_checkpoint(self.run).stem)
        assert last == json.loads((self.run / "machine.json").read_text())["total_images"]
        return last


@pytest.fixture
def stopped(tmp_path: Path) -> StoppedRun:
    return StoppedRun(tmp_path)


def modify_one(train: Path) -> None:
    write_image(train / "A" / "3.png", 99)


def modify_all(train: Path) -> None:
    for path in train.rglob("*.png"):
        write_image(path, 1000 + hash(path.name) % 1000 + ord(path.parent.name))


def add(train: Path) -> None:
    for domain in "AB":
        write_image(train / domain / "9.png", ord(domain))


def remove(train: Path) -> None:
    for domain in "AB":
        (train / domain / "0.png").unlink()


def rename(train: Path) -> None:
    for domain in "AB":
        (train / domain / "0.png").rename(train / domain / "x.png")


def shuffle_pairs(train: Path) -> None:
    (train / "B" / "0.png").rename(train / "x")
    (train / "B" / "1.png").rename(train / "B" / "0.png")
    (train / "x").rename(train / "B" / "1.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message", "length"),
    [
        (modify_one, "1 image of A changed (train/A/3.png)", 6),
        (modify_all, "6 images of A changed (train/A/0.png, train/A/1.png, train/A/2.png, ...)", 6),
        (add, "1 image of A added (train/A/9.png), 1 image of B added (train/B/9.png)", 7),
        (remove, "1 image of A removed (train/A/0.png), 1 image of B removed", 5),
        (rename, "1 image of A renamed (train/A/x.png), 1 image of B renamed", 6),
        (shuffle_pairs, "2 images of B changed (train/B/0.png, train/B/1.png)", 6),
    ],
)
def test_changes_are_reported_and_the_epoch_restarts(
    change: Callable[[Path], None],
    message: str,
    length: int,
    stopped: StoppedRun,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(stopped.data / "train")
    stopped()
    output = capsys.readouterr().out
    assert CHANGED + message in output and "; restarting epoch 2\n" in output
    assert "epoch 2, batch 1, 9 images" in output
    assert stopped.processed() == 9 + 2 * length
    stopped()  # the changed data are the dataset of the run now
    assert CHANGED not in capsys.readouterr().out


@pytest.mark.slow
def test_changes_at_the_end_of_an_epoch_do_not_restart_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = StoppedRun(tmp_path, at=12)
    add(stopped.data / "train")
    stopped()
    output = capsys.readouterr().out
    assert CHANGED in output and "restarting" not in output
    assert stopped.processed() == 12 + 7


def write_archive(data: Path, to: Path) -> Path:
    if to.suffix == ".zip":
        with zipfile.ZipFile(to, "w") as archive:
            for path in sorted(data.rglob("*.png")):
                archive.write(path, path.relative_to(data))
    else:
        with tarfile.open(to, "w") as tar:
            tar.add(data, "inner")
    return to


@pytest.mark.slow
@pytest.mark.parametrize(
    "relocate",
    [
        lambda data: data.rename(data.with_name("moved")),
        lambda data: write_archive(data, data.with_suffix(".zip")),
        lambda data: write_archive(data, data.with_suffix(".tar")),
        lambda data: [p.rename(p.with_name(f"n{p.name}")) for p in data.rglob("*.png")] and data,
    ],
)
def test_data_with_the_same_contents_resume_exactly(
    relocate: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = StoppedRun(tmp_path)
    saved_run = tmp_path / "saved_run"
    shutil.copytree(stopped.run, saved_run)
    stopped()
    expected = checkpoint_state(stopped.run)
    shutil.rmtree(stopped.run)
    saved_run.rename(stopped.run)
    capsys.readouterr()
    stopped(relocate(stopped.data))
    output = capsys.readouterr().out
    assert CHANGED not in output and "epoch 2, batch 4" in output
    found = checkpoint_state(stopped.run)
    for state in (expected, found):
        for key in ("contents", "data"):  # paths and names of the images
            state.pop(key)
        state["monitor"]["best"].pop("of_names")
    assert identical(found, expected) and stopped.processed() == 18


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_swapped_domains_are_refused(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = StoppedRun(tmp_path, method, **{"validate.every": "0"})
    train = stopped.data / "train"
    (train / "A").rename(train / "x")
    (train / "B").rename(train / "A")
    (train / "x").rename(train / "B")
    assert f"A and B of {stopped.data} are swapped" in stopped.refused(capsys)


@pytest.mark.slow
def test_another_dataset_is_refused(
    stopped: StoppedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_data(stopped.folder / "other", first_seed=100)  # the same names
    output = stopped.refused(capsys, other)
    assert f"{other} has no image in common" in output and str(stopped.data) in output
    for path in (stopped.data / "train").rglob(
        "*.png"
    ):  # other names and contents in the same folder
        write_image(path.with_name(f"new-{path.name}"), 2000 + int(path.stem))
        path.unlink()
    assert "has no image in common" in stopped.refused(capsys)


@pytest.mark.slow
def test_side_by_side_files_are_compared_as_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = StoppedRun.__new__(StoppedRun)
    stopped.folder, stopped.method, stopped.more = tmp_path, "pix2pix", {"validate.every": "0"}
    stopped.data, stopped.run = tmp_path / "sets", tmp_path / "run"
    for number in range(IMAGES):
        write_image(stopped.data / f"{number}.png", number, 36)
    train_until_crash(pytest.MonkeyPatch(), 10, stopped.settings(stopped.data))
    write_image(stopped.data / "2.png", 99, 36)
    stopped()
    assert f"{CHANGED}1 image changed (2.png); restarting epoch 2" in capsys.readouterr().out


@pytest.mark.slow
def test_changed_held_out_images_are_reported_and_reset_the_best(
    stopped: StoppedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checkpoint_state(stopped.run)["monitor"]["best"]["value"] is not None
    write_image(stopped.data / "val" / "A" / "1.png", 99)  # with the same name
    stopped()
    output = capsys.readouterr().out
    assert (
        "the held-out images changed since the checkpoint: 1 image of A changed (val/A/1" in output
    )
    assert "the held-out images are not the same" in output
    assert "restarting" not in output and stopped.processed() == 18


# -- checkpoints of an earlier version


def without_contents(run: Path) -> None:
    for path in (run / "checkpoints").glob("*.safetensors"):
        state = load_state(path)
        del state["contents"]
        save_state(path, state)


@pytest.mark.slow
def test_without_digests_names_are_compared_with_a_note(
    stopped: StoppedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    without_contents(stopped.run)
    modify_one(stopped.data / "train")  # not detectable by names
    stopped()
    output = capsys.readouterr().out
    assert "has no digests of the images: only their names were compared" in output
    assert "epoch 2, batch 4" in output and stopped.processed() == 18


@pytest.mark.slow
def test_without_digests_other_names_restart_or_are_refused(
    stopped: StoppedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    without_contents(stopped.run)
    add(stopped.data / "train")
    other = stopped.folder / "other"
    shutil.copytree(stopped.data, other)
    assert "other names" in stopped.refused(capsys, other)
    stopped()
    output = capsys.readouterr().out
    assert "names of the training images changed since the checkpoint" in output
    assert "; restarting epoch 2\n" in output
    assert stopped.processed() == 9 + 2 * 7


# -- archives that change while a run reads them


def rewrite(archive: Path, data: Path) -> None:
    modify_all(data / "train")
    write_archive(data, archive)


def replace(archive: Path, data: Path) -> None:
    """Replace the archive by another file with the same size and time."""
    before = archive.stat()
    other = archive.with_name("other")
    other.write_bytes(archive.read_bytes())
    other.replace(archive)
    import os

    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize("change", [rewrite, replace])
def test_a_run_saves_and_stops_when_its_archive_changes(
    suffix: str,
    change: Callable[[Path, Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = write_data(tmp_path / "sets" / "data")
    archive = write_archive(data, data.with_suffix(suffix))
    stopped = StoppedRun.__new__(StoppedRun)
    stopped.folder, stopped.method, stopped.run = tmp_path, "pix2pix", tmp_path / "run"
    stopped.data = archive
    stopped.more = {"data.cache": "off", "validate.every": "0", "data.max_invalid": "0.9"}
    step = Log.add

    def add_and_change(self: Log, *arguments: Any) -> None:
        step(self, *arguments)
        if self.done == 8:
            change(archive, data)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "add", add_and_change)
        with pytest.raises(SystemExit) as ended:
            stopped()
    output = capsys.readouterr().err
    assert ended.value.code == 2 and output.count("\n") == 1
    assert f"{archive} changed while it was read" in output
    assert newest_checkpoint(stopped.run).stem == f"{8:010d}"
    stopped()
    assert (CHANGED in capsys.readouterr().out) == (change is rewrite)
    assert stopped.processed() == (8 + 12 if change is rewrite else 18)


def test_an_archive_that_changes_during_the_scan_is_refused(tmp_path: Path) -> None:
    from viceversa.data import DataConfig, index_split
    from viceversa.data.check.scan import scan_files

    data = write_data(tmp_path / "data")
    archive = write_archive(data, tmp_path / "data.tar")
    found = index_split(archive, "train", True, DataConfig())
    assert found is not None
    scan_files(found.a, store=None)
    rewrite(archive, data)
    with raises_user_error(path=archive):
        scan_files(found.a, store=None)
