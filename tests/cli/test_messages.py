"""Messages about options, empty arguments, times, and many files."""

from __future__ import annotations

import json
import os
import shlex
import time
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image
from support import (
    command_error,
    noise_images,
    noise_pairs,
    raises_user_error,
    train_until_crash,
)

from viceversa import read_recipe, resolve, train
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
        "train": {
            "run": str(run),
            "epochs": epochs,
            "device": "cpu",
            "precision": "fp32",
            "samples": 0,
            "save_every": 1,
        },
        "validate": {"every": 0, "health": 0},
    }
    return resolve(merge(read_recipe("pix2pix"), small))


@pytest.mark.slow
def test_epochs_below_the_epoch_reached_are_refused(tmp_path: Path) -> None:
    data, run = noise_pairs(tmp_path / "data", 2, 16), tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        # In epoch 3, after the checkpoint of its first image.
        train_until_crash(patch, 6, settings(data, run, 4))
    config = (run / "config.json").read_bytes()
    for epochs in (1, 2):
        with raises_user_error(option="train.epochs") as caught:
            train(settings(data, run, epochs))
        assert "reached epoch 3" in str(caught.value)
    assert (run / "config.json").read_bytes() == config  # nothing was written
    train(settings(data, run, 3))
    for epochs in (1, 2):
        with raises_user_error(option="train.epochs") as caught:
            train(settings(data, run, epochs))
        assert "to 3 or more" in str(caught.value)
    train(settings(data, run, 3))  # the finished run is accepted and not changed
    train(settings(data, run, 4))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("translate m x.png", "translate needs -o (--out), the folder or file for the results"),
        ("explain m x.png", "explain needs -o (--out), the figure to write"),
        ("ensemble a b", "ensemble needs -o (--out), the file, such as e.safetensors"),
        ("translate", "translate needs MODEL, the model file of a generator"),
        ("log", "log needs RUN, the run folder"),
        ("evaluate", "evaluate needs MODEL_OR_FAKES, a run folder"),
        ("translate m x.png --out_ o", "Did you mean --out?"),
        ("translate m x.png -o", "-o requires an argument"),
    ],
)
def test_a_missing_argument_is_named_with_its_meaning(
    command: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in command_error(capsys, *command.split())


@pytest.mark.parametrize(
    ("command", "option", "takes"),
    [
        ("translate m x.png -o o --batch_size 2.5", "batch_size", "a whole number"),
        ("log run --last 2.5", "last", "a whole number"),
        ("plan pix2pix --steps 2.5", "steps", "a whole number"),
        (
            "check photos --data.load_size 2.5",
            "data.load_size",
            "a whole number, or height and width such as 256 512",
        ),
    ],
)
def test_a_fraction_for_a_whole_number_is_refused(
    command: str, option: str, takes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = command_error(capsys, *command.split())
    assert message.strip() == f"viceversa: --{option} takes {takes}, not 2.5"


EMPTY = [
    "train ''",
    "train pix2pix ''",
    "plan ''",
    "plan pix2pix ''",
    "check ''",
    "translate ''",
    "translate m '' -o o",
    "translate m x.png -o ''",
    "translate m x.png --out=",
    "translate m x.png -o o --device ''",
    "evaluate ''",
    "evaluate m ''",
    "evaluate m d -o ''",
    "evaluate m d --features ''",
    "explain m x.png -o ''",
    "explain m '' -o x.png",
    "explain m x.png -o y.png --real=",
    "report ''",
    "compare m ''",
    "compare m m -o ''",
    "show ''",
    "demo -o ''",
    "features --to ''",
    "''",
]


@pytest.mark.parametrize("command", EMPTY)
def test_empty_arguments_are_refused(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "empty" in command_error(capsys, *shlex.split(command))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("arguments", [["--train.init", ""], ["--train.init="]])
def test_settings_may_be_empty(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    message = command_error(capsys, "train", "pix2pix", *arguments)
    assert "there is no data folder to train on" in message


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (0, "0 minutes ago"),
        (0.5, "30 minutes ago"),
        (3, "3 hours ago"),
        (72, "3 days ago"),
        (-0.01, "0 minutes ago"),
        (-1, "in the future"),
        (-10000, "in the future"),
    ],
)
def test_the_age_of_a_checkpoint(hours: float, text: str, tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("")
    modified = time.time() - 3600 * hours
    os.utime(file, (modified, modified))
    assert text in age(file) and not age(file).startswith("-")


def all_output(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that may fail; return its standard output and standard error."""
    capsys.readouterr()
    with suppress(SystemExit):
        main([str(argument) for argument in arguments])
    return "".join(capsys.readouterr())


def test_messages_about_many_files_have_one_line_with_a_count_and_three_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of check and train, about small images (a note) and constant images (a warning)."""
    data, run = noise_pairs(tmp_path / "data", 40, 20), tmp_path / "run"
    for path in (data / "B").iterdir():
        Image.new("RGB", (20, 20), (7, 7, 7)).save(path)
    output = all_output(capsys, "check", data, "--data.crop_size", "32")
    assert output.count("smaller than data.crop_size, which will be enlarged: 40") == 2
    assert output.count("with one value everywhere: 40") == 1
    assert output.count("and 37 more") == output.count(": 40\n") == 3
    assert len(output.splitlines()) < 45
    output = all_output(
        capsys, "train", "pix2pix", data, "--train.run", run, "--train.device", "foo"
    )
    assert len(output.splitlines()) <= 2
    config = settings(data, run, 1).data
    notes: list[str] = []
    open_data(config, True, 0, tmp_path, notes.append)
    (constant,) = (note for note in notes if "one value everywhere" in note)
    assert constant.endswith("02.png and 37 more)") and "03.png" not in constant


def test_files_that_become_invalid_during_training_are_reported_in_few_lines() -> None:
    invalid, lines = InvalidFiles(), []

    def fail(*names: str, last: bool = False) -> None:
        for name in names:
            invalid.add(f"{name} is damaged")
        if line := invalid.report(last):
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
    assert len(lines) == 4 and not invalid.unreported and len(invalid.files) == 44


def test_many_files_that_become_invalid_at_once_are_reported_in_one_line() -> None:
    names = [f"{number} is damaged" for number in range(40)]
    invalid = InvalidFiles([*names], [*names])
    assert invalid.report(last=False).endswith("2 is damaged and 37 more")


@pytest.mark.parametrize("side", ["A", "B", "AB"])
@pytest.mark.parametrize("pairs", ["yes", "no"])
def test_the_advice_about_unreadable_images_is_to_repair_them(
    side: str, pairs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for name in "AB":
        noise_images(data / "train" / name, 3, size=(286, 286))
    for name in side:
        for file in (data / "train" / name).iterdir():
            file.write_bytes(b"not an image")
    output = all_output(capsys, "check", data, "--pairs", pairs)
    for name in side:
        assert f"train has no image of {name} that can be read" in output
    assert "put images" not in output
    assert "repair or remove the files that cannot be read" in output
    assert "train without" not in output


def test_advice_depends_on_the_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    for split, count in (("train", 3), ("val", 1)):
        for name in "AB":
            noise_images(data / split / name, count, size=(286, 286))
    output = all_output(capsys, "check", data)
    assert "val has a single image of A" in output and "hundreds" not in output
    values = json.loads(all_output(capsys, "check", data, "--json"))
    assert "hundreds" not in json.dumps(values)
    single = noise_pairs(tmp_path / "one", 1, 286)
    values = json.loads(all_output(capsys, "check", single, "--json"))
    assert "training needs hundreds" in json.dumps(values)
