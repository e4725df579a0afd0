"""What a command refuses, and what it says: options, empty arguments, times."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import noise_pairs, train_until_crash

from viceversa import UserError, read_recipe, resolve, train
from viceversa.checkpoint import age
from viceversa.cli import main
from viceversa.config.recipes import merge
from viceversa.config.run import RunConfig
from viceversa.data.dataset import InvalidFiles
from viceversa.data.open import open_data


def settings(data: Path, run: Path, epochs: int) -> RunConfig:
    small = {
        "generator": {"width": 2, "depth": 3},
        "discriminator": {"width": 2, "layers": 1},
        "data": {"path": str(data), "load_size": 16, "crop_size": 16, "workers": 0},
        "train": {"run": str(run), "epochs": epochs, "device": "cpu", "samples": 0,
                  "save_every": 1},
        "validate": {"every": 0, "health": 0},
    }  # fmt: skip
    return resolve(merge(read_recipe("pix2pix"), small))


def test_epochs_below_the_epoch_reached_are_refused(tmp_path: Path) -> None:
    data, run = noise_pairs(tmp_path / "data", 2, 16), tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        train_until_crash(
            patch, 6, settings(data, run, 4)
        )  # in epoch 3, whose first image was saved
    config = (run / "config.json").read_bytes()
    for epochs in (1, 2):
        with pytest.raises(UserError, match="reached epoch 3") as error:
            train(settings(data, run, epochs))
        assert error.value.option == "train.epochs"
    assert (run / "config.json").read_bytes() == config  # nothing was written
    train(settings(data, run, 3))
    for epochs in (1, 2):
        with pytest.raises(UserError, match="to 3 or more"):
            train(settings(data, run, epochs))
    train(settings(data, run, 3))  # a finished run stays one
    train(settings(data, run, 4))


EMPTY = [
    ["train", ""], ["train", "pix2pix", ""], ["plan", ""], ["plan", "pix2pix", ""], ["check", ""],
    ["translate", ""], ["translate", "m", "", "-o", "o"], ["translate", "m", "x.png", "-o", ""],
    ["translate", "m", "x.png", "--out="], ["translate", "m", "x.png", "-o", "o", "--device", ""],
    ["evaluate", ""], ["evaluate", "m", ""], ["evaluate", "m", "d", "-o", ""],
    ["evaluate", "m", "d", "--features", ""], ["explain", "m", "x.png", "-o", ""],
    ["explain", "m", "", "-o", "x.png"], ["explain", "m", "x.png", "-o", "y.png", "--real="],
    ["report", ""], ["compare", "m", ""], ["compare", "m", "m", "-o", ""], ["show", ""],
    ["demo", "-o", ""], ["features", "--to", ""], [""],
]  # fmt: skip


@pytest.mark.parametrize("words", EMPTY, ids=lambda words: " ".join(map(repr, words)))
def test_empty_arguments_are_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(words)
    said = capsys.readouterr().err
    assert end.value.code == 2 and "empty" in said and said.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("words", [["--train.init", ""], ["--train.init="]])
def test_settings_may_be_set_to_an_empty_text(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "pix2pix", *words])
    assert "there is no data folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0, "0 minutes ago"), (0.5, "30 minutes ago"), (3, "3 hours ago"), (72, "3 days ago"),
        (-0.01, "0 minutes ago"), (-1, "in the future"), (-10000, "in the future"),
    ],
)  # fmt: skip
def test_the_age_of_a_checkpoint(hours: float, words: str, tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("")
    then = time.time() - 3600 * hours
    os.utime(file, (then, then))
    assert words in age(file) and not age(file).startswith("-")


def images(folder: Path, count: int, side: int, value: int | None = None) -> Path:
    """Images of noise, or of one value everywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(count):
        noise = random.integers(0, 256, (side, side, 3), np.uint8)
        pixels = noise if value is None else np.full_like(noise, value)
        pixels[0, 0] = number if value is None else value
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    with suppress(SystemExit):
        main(list(words))
    shown = capsys.readouterr()
    return shown.out + shown.err


def test_one_line_for_each_kind_with_a_count_and_three_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In check and in train: small images (a note), images of one value (a warning)."""
    data = tmp_path / "data"
    images(data / "A", 40, 20)
    images(data / "B", 40, 20, value=7)
    told = said(capsys, "check", str(data), "--data.crop_size", "32")
    assert told.count("smaller than data.crop_size, which will be enlarged: 40") == 2
    assert told.count("with one value everywhere: 40") == 1
    assert told.count("and 37 more") == told.count(": 40\n") == 3
    assert len(told.splitlines()) < 45
    lines = said(
        capsys, "train", "pix2pix", str(data), "--train.run", str(tmp_path / "run"),
        "--train.device", "foo",
    ).splitlines()  # fmt: skip
    assert len(lines) <= 2
    config = settings(data, tmp_path / "run", 1).data
    notes: list[str] = []
    open_data(config, True, 0, tmp_path, notes.append)
    (flat,) = (note for note in notes if "one value everywhere" in note)
    assert flat.endswith("02.png and 37 more)") and "03.png" not in flat


def test_files_that_go_bad_while_training_make_few_lines() -> None:
    bad, lines = InvalidFiles(), []

    def fail(*names: str, last: bool = False) -> None:
        for name in names:
            bad.add(f"{name} is damaged")
        if line := bad.report(last):
            lines.append(line)

    fail("a")
    fail()
    fail("b")
    fail("c")
    for number in range(40):
        fail(f"{number}")
    assert lines == ["a is damaged", "b is damaged", "c is damaged"]
    fail("z", last=True)
    assert lines[3:] == ["41 more files: 0 is damaged, 1 is damaged, 2 is damaged and 38 more"]
    fail(last=True)
    assert len(lines) == 4 and not bad.unreported and len(bad.files) == 44


def test_many_files_that_go_bad_at_once_are_one_line() -> None:
    names = [f"{number} is damaged" for number in range(40)]
    bad = InvalidFiles([*names], [*names])
    assert bad.report(last=False).endswith("2 is damaged and 37 more")


@pytest.mark.parametrize("side", ["A", "B", "AB"])
@pytest.mark.parametrize("pairs", ["yes", "no"])
def test_unreadable_images_are_to_be_repaired_not_to_be_added(
    side: str, pairs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for name in "AB":
        images(data / "train" / name, 3, 286)
    for name in side:
        for file in (data / "train" / name).iterdir():
            file.write_bytes(b"no image")
    told = said(capsys, "check", str(data), "--pairs", pairs)
    for name in side:
        assert f"train has no image of {name} that can be read" in told
    assert "put images" not in told and "repair or remove the files that cannot be read" in told
    assert "go on without" not in told


def test_advice_fits_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    for split, count in (("train", 3), ("val", 1)):
        for name in "AB":
            images(data / split / name, count, 286)
    told = said(capsys, "check", str(data))
    assert "val has a single image of A" in told and "hundreds" not in told
    values = json.loads(said(capsys, "check", str(data), "--json"))
    assert "hundreds" not in json.dumps(values)
    single = images(tmp_path / "one" / "A", 1, 286).parent
    images(single / "B", 1, 286)
    values = json.loads(said(capsys, "check", str(single), "--json"))
    assert "training needs hundreds" in json.dumps(values)
