"""What a command refuses, and what it says: options, empty arguments, times."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from noise import noise_pairs
from whole_runs import interrupted

from viceversa import UserError, read_recipe, resolve, train
from viceversa.build import RunConfig
from viceversa.checkpoint import age
from viceversa.cli import main
from viceversa.config import merge


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
        interrupted(patch, 6, settings(data, run, 4))  # in epoch 3, whose first image was saved
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
