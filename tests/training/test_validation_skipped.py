"""Validations without images, metric or memory are reported and do not stop training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monitored_runs import METHODS, lines, noise_splits, settings
from support import raises_user_error

from viceversa.training import loop as training
from viceversa.training import monitor
from viceversa.training.monitor import Monitor


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_splits(tmp_path / "data", val=4)


def delete_held_out(
    monkeypatch: pytest.MonkeyPatch, data: Path, files: Callable[[Path], list[Path]]
) -> None:
    """Delete held-out files after training has started."""
    begin = Monitor.begin

    def begin_and_delete(self: Monitor, *arguments: Any) -> None:
        begin(self, *arguments)
        for file in files(data / "val"):
            file.unlink()

    monkeypatch.setattr(Monitor, "begin", begin_and_delete)


@pytest.mark.parametrize("name", METHODS)
def test_held_out_files_that_become_unreadable_are_reported_and_not_counted(
    name: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    delete_held_out(monkeypatch, data, lambda val: sorted((val / "B").iterdir())[2:])
    more: dict[str, dict[str, Any]] = {
        "data": {"on_invalid": "skip", "max_invalid": 0.99, "cache": "off"}
    }
    run = training.train(settings(name, data, tmp_path / "run", **more))
    assert {line["n"] for line in lines(run, "validation")} == {2}
    assert "left out: " in capsys.readouterr().out


@pytest.mark.parametrize("name", METHODS)
def test_training_continues_without_any_held_out_image(
    name: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    delete_held_out(monkeypatch, data, lambda val: [*(val / "A").iterdir(), *(val / "B").iterdir()])
    more: dict[str, dict[str, Any]] = {
        "data": {"on_invalid": "skip", "max_invalid": 0.99, "cache": "off"},
        "validate": {"every": 4, "health": 4, "patience": 1},
        "train": {"samples": 0},
    }
    run = training.train(settings(name, data, tmp_path / "run", **more))
    assert "no validation: no image of val can be read" in capsys.readouterr().out
    assert lines(run, "train")[-1]["images"] == 12 and not lines(run, "validation")


@pytest.mark.parametrize(
    ("best", "message"),
    [
        ("ms_ssim", "images of at least 176 x 176 pixels, and the first one is 16x16"),
        ("kid", "at least 50 held-out images, and val has 4"),
    ],
)
def test_a_best_metric_that_is_not_available_is_refused_before_training(
    best: str, message: str, data: Path, tmp_path: Path
) -> None:
    validate = {"every": 2, "extra_metrics": [best], "best_metric": best, "patience": 2}
    with raises_user_error("validate.best_metric") as caught:
        training.train(settings("pix2pix", data, tmp_path / "run", validate=validate))
    assert f"validate.best_metric {best} needs {message}" in str(caught.value)
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_the_cycle_error_selects_no_model_of_one_direction(data: Path, tmp_path: Path) -> None:
    validate = {"every": 2, "best_metric": "cycle"}
    small = {"layers": [0], "head_width": 4, "patches": 8}
    with raises_user_error("validate.best_metric") as caught:
        training.train(settings("cut", data, tmp_path / "run", validate=validate, method=small))
    assert "cut translates in one" in str(caught.value)


def test_an_early_stop_is_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more: dict[str, dict[str, Any]] = {
        "train": {"lr": 0.0, "epochs": 9},
        "validate": {"every": 6, "patience": 2},
    }
    run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    output = capsys.readouterr().out
    assert "no improvement in 2 validations: training stops" in output
    assert lines(run, "train")[-1]["images"] == 16


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("something else"),
    ],
)
def test_diagnostics_without_enough_memory_are_skipped(
    error: Exception,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def raise_error(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(monitor, "translations", raise_error)
    config = settings("pix2pix", data, tmp_path / "run", validate={"every": 0, "health": 4})
    if type(error) is RuntimeError:  # other errors are raised
        with pytest.raises(RuntimeError, match="something else"):
            training.train(config)
        return
    run = training.train(config)
    assert "skipped after 4 images: not enough memory" in capsys.readouterr().out
    assert lines(run, "train")[-1]["images"] == 12
