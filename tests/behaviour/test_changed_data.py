"""A run is resumed, and its data are not those of the checkpoint: noticed by their contents."""

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
from support import checkpoint_state, identical, newest_checkpoint, train_until_crash

from viceversa.checkpoint import load_state, save_state
from viceversa.cli import main
from viceversa.config.command_line import train_settings
from viceversa.config.run import RunConfig
from viceversa.errors import UserError
from viceversa.training.log import Log

IMAGES = 6
CHANGED = "the training images changed since the checkpoint: "


def image(path: Path, seed: int, width: int = 18) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (18, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make(root: Path, images: int = IMAGES, first: int = 0) -> Path:
    for number in range(images):
        image(root / "train" / "A" / f"{number}.png", first + number)
        image(root / "train" / "B" / f"{number}.png", first + number + 500)
    for number in range(2):
        for domain in "AB":
            image(root / "val" / domain / f"{number}.png", ord(domain) + number)
    return root


class Resumed:
    """A run that was stopped in the middle of its second epoch, and its data beside it."""

    def __init__(self, folder: Path, method: str = "pix2pix", at: int = 9, **more: str):
        self.folder, self.method, self.more = folder, method, more
        self.data, self.run = make(folder / "sets" / "data"), folder / "run"
        train_until_crash(pytest.MonkeyPatch(), at + 1, self.settings(self.data))
        assert newest_checkpoint(self.run).stem == f"{at:010d}"

    def words(self, data: Path) -> list[str]:
        options = {
            "generator.width": 2, "generator.depth": 2, "discriminator.width": 2,
            "discriminator.layers": 1, "data.load_size": 18, "data.crop_size": 16,
            "data.workers": 0, "train.run": self.run, "train.epochs": 3, "train.device": "cpu",
            "train.save_every": 3, "train.log_every": 100, "validate.every": 6,
            "train.samples": 0, **self.more,
        }  # fmt: skip
        if self.method == "cyclegan":
            options |= {"generator.name": "unet"}
        words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
        return ["train", self.method, str(data), *words]

    def settings(self, data: Path) -> RunConfig:
        config: RunConfig = train_settings(self.method, self.words(data)[2:])
        return config

    def __call__(self, data: Path | None = None) -> None:
        main(self.words(data or self.data))

    def refused(self, capsys: pytest.CaptureFixture[str], data: Path | None = None) -> str:
        before = {path: path.read_bytes() for path in self.run.rglob("*.safetensors")}
        with pytest.raises(SystemExit) as ended:
            self(data)
        assert ended.value.code == 2
        assert {path: path.read_bytes() for path in self.run.rglob("*.safetensors")} == before
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    def processed(self) -> int:
        """Images by the last line of the log, and by the checkpoint and machine.json."""
        lines = [json.loads(line) for line in (self.run / "log.jsonl").read_text().splitlines()]
        last = max(int(line["images"]) for line in lines if "losses" in line)
        assert last == int(newest_checkpoint(self.run).stem)
        assert last == json.loads((self.run / "machine.json").read_text())["total_images"]
        return last


@pytest.fixture
def resumed(tmp_path: Path) -> Resumed:
    return Resumed(tmp_path)


def change_one(train: Path) -> None:
    image(train / "A" / "3.png", 99)


def change_all(train: Path) -> None:
    for path in train.rglob("*.png"):
        image(path, 1000 + hash(path.name) % 1000 + ord(path.parent.name))


def add(train: Path) -> None:
    for domain in "AB":
        image(train / domain / "9.png", ord(domain))


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


@pytest.mark.parametrize(
    ("change", "words", "length"),
    [
        (change_one, "1 image of A changed (train/A/3.png)", 6),
        (change_all, "6 images of A changed (train/A/0.png, train/A/1.png, train/A/2.png, ...)", 6),
        (add, "1 image of A added (train/A/9.png), 1 image of B added (train/B/9.png)", 7),
        (remove, "1 image of A removed (train/A/0.png), 1 image of B removed", 5),
        (rename, "1 image of A renamed (train/A/x.png), 1 image of B renamed", 6),
        (shuffle_pairs, "2 images of B changed (train/B/0.png, train/B/1.png)", 6),
    ],
)
def test_what_changed_is_reported_and_the_epoch_restarts(
    change: Callable[[Path], None], words: str, length: int, resumed: Resumed,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    change(resumed.data / "train")
    resumed()
    said = capsys.readouterr().out
    assert CHANGED + words in said and "; restarting epoch 2\n" in said
    assert "epoch 2, batch 1, 9 images" in said
    assert resumed.processed() == 9 + 2 * length
    resumed()  # and is the data set of the run from now on
    assert CHANGED not in capsys.readouterr().out


def test_at_the_end_of_an_epoch_nothing_restarts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resumed = Resumed(tmp_path, at=12)
    add(resumed.data / "train")
    resumed()
    said = capsys.readouterr().out
    assert CHANGED in said and "restarting" not in said
    assert resumed.processed() == 12 + 7


def archived(data: Path, to: Path) -> Path:
    if to.suffix == ".zip":
        with zipfile.ZipFile(to, "w") as archive:
            for path in sorted(data.rglob("*.png")):
                archive.write(path, path.relative_to(data))
    else:
        with tarfile.open(to, "w") as tar:
            tar.add(data, "inner")
    return to


@pytest.mark.parametrize(
    "elsewhere",
    [
        lambda data: data.rename(data.with_name("moved")),
        lambda data: archived(data, data.with_suffix(".zip")),
        lambda data: archived(data, data.with_suffix(".tar")),
        lambda data: [p.rename(p.with_name(f"n{p.name}")) for p in data.rglob("*.png")] and data,
    ],
)
def test_the_same_contents_elsewhere_continue_to_the_bit(
    elsewhere: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resumed = Resumed(tmp_path)
    whole = tmp_path / "whole"
    shutil.copytree(resumed.run, whole)
    resumed()
    expected = checkpoint_state(resumed.run)
    shutil.rmtree(resumed.run)
    whole.rename(resumed.run)
    capsys.readouterr()
    resumed(elsewhere(resumed.data))
    said = capsys.readouterr().out
    assert CHANGED not in said and "epoch 2, batch 4" in said
    found = checkpoint_state(resumed.run)
    for state in (expected, found):
        for key in ("contents", "data"):  # where the images are, and what they are called
            state.pop(key)
        state["monitor"]["best"].pop("of_names")
    assert identical(found, expected) and resumed.processed() == 18


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_swapped_domains_are_refused(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resumed = Resumed(tmp_path, method, **{"validate.every": "0"})
    train = resumed.data / "train"
    (train / "A").rename(train / "x")
    (train / "B").rename(train / "A")
    (train / "x").rename(train / "B")
    assert f"A and B of {resumed.data} are swapped" in resumed.refused(capsys)


def test_another_data_set_is_refused_whatever_its_names(
    resumed: Resumed, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make(resumed.folder / "other", first=100)  # the same names
    said = resumed.refused(capsys, other)
    assert f"{other} has no image in common" in said and str(resumed.data) in said
    for path in (resumed.data / "train").rglob("*.png"):  # other names and contents, same place
        image(path.with_name(f"new-{path.name}"), 2000 + int(path.stem))
        path.unlink()
    assert "has no image in common" in resumed.refused(capsys)


def test_side_by_side_files_are_compared_as_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resumed = Resumed.__new__(Resumed)
    resumed.folder, resumed.method, resumed.more = tmp_path, "pix2pix", {"validate.every": "0"}
    resumed.data, resumed.run = tmp_path / "sets", tmp_path / "run"
    for number in range(IMAGES):
        image(resumed.data / f"{number}.png", number, 36)
    train_until_crash(pytest.MonkeyPatch(), 10, resumed.settings(resumed.data))
    image(resumed.data / "2.png", 99, 36)
    resumed()
    assert f"{CHANGED}1 image changed (2.png); restarting epoch 2" in capsys.readouterr().out


def test_held_out_images_that_changed_are_reported_and_the_best_forgotten(
    resumed: Resumed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checkpoint_state(resumed.run)["monitor"]["best"]["value"] is not None
    image(resumed.data / "val" / "A" / "1.png", 99)  # under its name
    resumed()
    said = capsys.readouterr().out
    assert "the held-out images changed since the checkpoint: 1 image of A changed (val/A/1" in said
    assert "the held-out images are not the same" in said
    assert "restarting" not in said and resumed.processed() == 18


# -- checkpoints of an earlier version


def without_contents(run: Path) -> None:
    for path in (run / "checkpoints").glob("*.safetensors"):
        state = load_state(path)
        del state["contents"]
        save_state(path, state)


def test_without_digests_names_are_compared_and_that_is_said(
    resumed: Resumed, capsys: pytest.CaptureFixture[str]
) -> None:
    without_contents(resumed.run)
    change_one(resumed.data / "train")  # which nothing could notice
    resumed()
    said = capsys.readouterr().out
    assert "has no digests of the images: only their names were compared" in said
    assert "epoch 2, batch 4" in said and resumed.processed() == 18


def test_without_digests_other_names_restart_or_are_refused(
    resumed: Resumed, capsys: pytest.CaptureFixture[str]
) -> None:
    without_contents(resumed.run)
    add(resumed.data / "train")
    other = resumed.folder / "other"
    shutil.copytree(resumed.data, other)
    assert "other names" in resumed.refused(capsys, other)
    resumed()
    said = capsys.readouterr().out
    assert "names of the training images changed since the checkpoint" in said
    assert "; restarting epoch 2\n" in said
    assert resumed.processed() == 9 + 2 * 7


# -- an archive that changes while a run reads it


def rewrite(archive: Path, data: Path) -> None:
    change_all(data / "train")
    archived(data, archive)


def replace(archive: Path, data: Path) -> None:
    """Another file of the same size and time."""
    before = archive.stat()
    other = archive.with_name("other")
    other.write_bytes(archive.read_bytes())
    other.replace(archive)
    import os

    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize("change", [rewrite, replace])
def test_an_archive_that_changed_ends_the_run_saved(
    suffix: str, change: Callable[[Path, Path], None], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = make(tmp_path / "sets" / "data")
    archive = archived(data, data.with_suffix(suffix))
    resumed = Resumed.__new__(Resumed)
    resumed.folder, resumed.method, resumed.run = tmp_path, "pix2pix", tmp_path / "run"
    resumed.data = archive
    resumed.more = {"data.cache": "off", "validate.every": "0", "data.max_invalid": "0.9"}
    step = Log.add

    def stepping(self: Log, *arguments: Any) -> None:
        step(self, *arguments)
        if self.done == 8:
            change(archive, data)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "add", stepping)
        with pytest.raises(SystemExit) as ended:
            resumed()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1
    assert f"{archive} changed while it was read" in said
    assert newest_checkpoint(resumed.run).stem == f"{8:010d}"
    resumed()
    assert (CHANGED in capsys.readouterr().out) == (change is rewrite)
    assert resumed.processed() == (8 + 12 if change is rewrite else 18)


def test_an_archive_that_changes_before_its_images_are_checked_is_not_mixed(tmp_path: Path) -> None:
    from viceversa.data import DataConfig, index_split
    from viceversa.data.check.scan import scan_files

    data = make(tmp_path / "data")
    archive = archived(data, tmp_path / "data.tar")
    found = index_split(archive, "train", True, DataConfig())
    assert found is not None
    scan_files(found.a, store=None)
    rewrite(archive, data)
    with pytest.raises(UserError, match="changed while it was read"):
        scan_files(found.a, store=None)
