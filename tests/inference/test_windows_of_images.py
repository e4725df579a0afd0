"""`--statistics window`: for all images that are larger than a crop in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import command_error, command_output
from test_translator import model, noise

from viceversa.images import read
from viceversa.inference import Translator
from viceversa.inference.memory import MemoryLimit

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
    unet = ["translate", str(model(tmp_path)), str(file), "-o", str(tmp_path / "out")]
    error = command_error(capsys, *unet, *window, "--policy", "running", "--device", "cpu")
    assert "leave out --statistics window" in error
    assert not (tmp_path / "out").exists()
