"""A validation that lacks its images, its metric or its memory: said in words, and nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monitored_runs import METHODS, data_set, lines, settings

from viceversa.errors import UserError
from viceversa.training import loop as training
from viceversa.training import monitor
from viceversa.training.monitor import Monitor


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return data_set(tmp_path / "data", val=4)


def losing(
    monkeypatch: pytest.MonkeyPatch, data: Path, files: Callable[[Path], list[Path]]
) -> None:
    """Take held-out files away once training has begun."""
    begin = Monitor.begin

    def beginning(self: Monitor, *arguments: Any) -> None:
        begin(self, *arguments)
        for file in files(data / "val"):
            file.unlink()

    monkeypatch.setattr(Monitor, "begin", beginning)


@pytest.mark.parametrize("name", METHODS)
def test_held_out_files_that_go_bad_are_told_and_not_counted(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    losing(monkeypatch, data, lambda val: sorted((val / "B").iterdir())[2:])
    more: dict[str, dict[str, Any]] = {
        "data": {"on_invalid": "skip", "max_invalid": 0.99, "cache": "off"}
    }
    run = training.train(settings(name, data, tmp_path / "run", **more))
    assert {line["validation"]["n"] for line in lines(run, "validation")} == {2}
    assert "left out: " in capsys.readouterr().out


@pytest.mark.parametrize("name", METHODS)
def test_where_no_held_out_image_is_left_training_goes_on(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    losing(monkeypatch, data, lambda val: [*(val / "A").iterdir(), *(val / "B").iterdir()])
    more: dict[str, dict[str, Any]] = {
        "data": {"on_invalid": "skip", "max_invalid": 0.99, "cache": "off"},
        "validate": {"every": 4, "health": 4, "patience": 1}, "train": {"samples": 0},
    }  # fmt: skip
    run = training.train(settings(name, data, tmp_path / "run", **more))
    assert "no validation: no image of val can be read" in capsys.readouterr().out
    assert lines(run, "losses")[-1]["images"] == 12 and not lines(run, "validation")


@pytest.mark.parametrize(("best", "told"), [
    ("ms_ssim", "images of at least 176 x 176 pixels, and the first one has 16 x 16"),
    ("kid", "at least 50 held-out images, and val has 4"),
])  # fmt: skip
def test_a_best_that_cannot_be_had_is_refused_before_training(
    best: str, told: str, data: Path, tmp_path: Path
) -> None:
    validate = {"every": 2, "extra_metrics": [best], "best_metric": best, "patience": 2}
    with pytest.raises(UserError, match=f"validate.best_metric {best} needs {told}"):
        training.train(settings("pix2pix", data, tmp_path / "run", validate=validate))
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_an_end_by_patience_says_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more: dict[str, dict[str, Any]] = {
        "train": {"lr": 0.0, "epochs": 9}, "validate": {"every": 6, "patience": 2},
    }  # fmt: skip
    run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    said = capsys.readouterr().out
    assert "no improvement in 2 validations: training stops" in said
    assert lines(run, "losses")[-1]["images"] == 16


@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("something else"),
])  # fmt: skip
def test_a_look_that_the_memory_is_not_enough_for_is_left_out(
    error: Exception, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def failing(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(monitor, "translations", failing)
    config = settings("pix2pix", data, tmp_path / "run", validate={"every": 0, "health": 4})
    if type(error) is RuntimeError:  # what is wrong in another way is not hidden
        with pytest.raises(RuntimeError, match="something else"):
            training.train(config)
        return
    run = training.train(config)
    assert "skipped after 4 images: not enough memory" in capsys.readouterr().out
    assert lines(run, "losses")[-1]["images"] == 12
