"""`--statistics window`: for all images that are larger than a crop in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import command_error, command_output
from test_translator import model, noise

from viceversa.errors import UserError
from viceversa.images import read
from viceversa.inference import Translator
from viceversa.inference.crops import windows_of
from viceversa.inference.large_images import LargeImages, translate_by_rows
from viceversa.inference.memory import MemoryLimit
from viceversa.streaming import Windows, whole_memory

MODEL = Path(__file__).parents[1] / "fixtures/format_1/runs/cyclegan/ab.safetensors"
CROP = 16  # of its training


def image(path: Path, height: int, width: int) -> Path:
    """Write an image whose contrast increases from top to bottom."""
    ramp = np.linspace(0.1, 1, height)[:, None, None]
    Image.fromarray((noise(1, height, width) * ramp).astype(np.uint8)).save(path)
    return path


def words(file: Path, out: Path, *options: str) -> list[str]:
    return ["translate", str(MODEL), str(file), "-o", str(out), "--device", "cpu", *options]


def test_images_that_fit_into_memory_are_translated_in_the_same_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = image(tmp_path / "x.png", 90, 70)
    needed = MemoryLimit(Translator.load(MODEL, "cpu")).needed(90, 70)
    assert needed is not None
    window = ("--statistics", "window")
    for name, options in (
        ("exact", ()),
        ("large", window),
        ("small", (*window, "--memory", str((needed - 1) / 1e9))),
    ):
        printed = command_output(capsys, *words(file, tmp_path / name, *options))
        assert ("norms have the statistics of 30 windows of 16x16 pixels" in printed) == (
            name == "small"
        )
    results = {
        name: read(tmp_path / name / "x.png").astype(int) for name in ("exact", "large", "small")
    }
    assert np.abs(results["large"] - results["small"]).max() <= 1
    assert np.abs(results["large"] - results["exact"]).mean() > 3


def test_images_of_the_size_of_a_crop_have_the_default_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = image(tmp_path / "x.png", CROP, CROP - 3)
    for name in ("exact", "window"):
        command_output(capsys, *words(file, tmp_path / name, "--statistics", name))
    exact, window = (read(tmp_path / name / "x.png") for name in ("exact", "window"))
    assert np.array_equal(exact, window)


def test_results_with_other_statistics_are_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = image(tmp_path / "x.png", 40, 40), tmp_path / "out"
    command_output(capsys, *words(file, out, "--statistics", "window"))
    for name in ("window", "exact"):
        printed = command_output(capsys, *words(file, out, "--resume", "--statistics", name))
        assert ("1 were translated before" in printed) == (name == "window")


def test_options_that_exclude_windows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = image(tmp_path / "x.png", 40, 40)
    window = ("--statistics", "window")
    for options, error in (
        (("--size", "64"), "--statistics window: --size resizes the whole image"),
        (("--flips",), "--statistics window needs a network that can be computed in bands"),
        (("--statistics_from", str(file)), "--statistics window and --statistics_from cannot be"),
    ):
        assert error in command_error(capsys, *words(file, tmp_path / "out", *window, *options))
    small = image(tmp_path / "s.png", 8, 8)  # options are refused even if no image has windows
    for options in (("--half", "left"), ("--size", "64")):
        words_ = words(small, tmp_path / "out", *window, *options)
        assert f"--statistics window: {options[0]}" in command_error(capsys, *words_)
    unet = ["translate", str(model(tmp_path)), str(file), "-o", str(tmp_path / "out")]
    error = command_error(capsys, *unet, *window, "--policy", "running", "--device", "cpu")
    assert "leave out --statistics window" in error
    assert not (tmp_path / "out").exists()


def test_too_little_memory_is_refused_before_windows_are_computed(tmp_path: Path) -> None:
    translator = Translator.load(MODEL, "cpu")
    shape, calls = (3, 64, 4000), list[float]()

    def rows(start: int, end: int) -> torch.Tensor:
        return torch.zeros(1, 3, end - start, 4000)

    limit = whole_memory(translator.network, (3, CROP, CROP))
    statistics = Windows(translator.network, shape, (CROP, CROP)).bytes
    for memory, error in ((limit, "1000 windows"), (limit + statistics, "4000 pixels wide")):
        with pytest.raises(UserError, match=error):
            windows_of(translator, rows, shape, memory, calls.append)
    assert not calls
    made = windows_of(translator, rows, shape, 10**9, calls.append)
    assert len(calls) == 1000 and made.memory < 10**9 - statistics


def test_one_window_needs_no_more_memory_than_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = image(tmp_path / "x.png", 90, 90)
    translator = Translator.load(MODEL, "cpu")
    translator.preprocessing = replace(translator.preprocessing, crop_size=128)
    limit = MemoryLimit(translator)
    needed = limit.needed(90, 90)
    assert needed is not None
    limit.limit = needed - 1
    for statistics in ("exact", "window"):
        options = LargeImages(limit, report=str, statistics=statistics)  # type: ignore[arg-type]
        assert options.takes(translator, file, None, False)
        done: list[float] = []
        translate_by_rows(
            translator, file, tmp_path / f"{statistics}.png", None, options, done.append
        )
        assert done[0] < 0.5
    exact, window = (read(tmp_path / f"{name}.png") for name in ("exact", "window"))
    assert np.array_equal(exact, window)
