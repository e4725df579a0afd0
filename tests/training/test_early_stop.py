"""Training stops after `patience` validations without improvement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monitored_runs import lines, noise_splits, tiny_sections
from PIL import Image
from support import checkpoint_state, identical

from viceversa.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_splits(tmp_path_factory.mktemp("early"))


def run_until_stop(data: Path, run: Path, patience: int, **train: Any) -> list[int]:
    """Run `viceversa train`, by default with lr 0, so that only the first validation is the best.

    Returns after how many images the run was validated.
    """
    more: dict[str, dict[str, Any]] = {
        "train": {"lr": 0.0, "epochs": 5, **train},
        "validate": {"every": 2, "patience": patience},
    }
    path = run.with_suffix(".json")
    path.write_text(json.dumps(tiny_sections("pix2pix", data, run, **more)))
    main(["train", str(path)])
    return [line["images"] for line in lines(run, "validation")]


def images_at_end(run: Path) -> int:
    """Return the number of images at the last checkpoint."""
    images: int = checkpoint_state(run)["images"]
    return images


def test_a_stopped_run_resumes_only_with_more_patience(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert run_until_stop(data, run, 2) == [2, 4, 6] and images_at_end(run) == 6
    assert (run / "checkpoints" / "0000000006.safetensors").is_file()
    assert (run / "ab.safetensors").is_file() and (run / "best" / "ab.safetensors").is_file()
    before = checkpoint_state(run)
    assert run_until_stop(data, run, 2) == [2, 4, 6] and identical(checkpoint_state(run), before)
    assert run_until_stop(data, run, 4) == [2, 4, 6, 8, 10] and images_at_end(run) == 10
    assert (
        run_until_stop(data, run, 0)[-1] == 30 and images_at_end(run) == 30
    )  # patience 0: no early stop


def test_an_improving_run_is_not_stopped(tmp_path: Path) -> None:
    """The control: targets of one color, which are learned quickly."""
    data, run = noise_splits(tmp_path / "data"), tmp_path / "run"
    for path in data.glob("*/B/*.png"):
        Image.new("RGB", (20, 20), (240, 240, 200 + int(path.stem))).save(path)
    assert (
        run_until_stop(data, run, 2, lr=2e-3, epochs=2) == [2, 4, 6, 8, 10, 12]
        and images_at_end(run) == 12
    )


@pytest.mark.parametrize(
    ("batches", "validations"), [(2, [2, 4, 6]), (3, [3, 6, 9]), (4, [4, 6, 10])]
)
def test_validation_and_stop_wait_for_the_end_of_a_step(
    batches: int, validations: list[int], data: Path, tmp_path: Path
) -> None:
    """With accumulation, the remaining batches of an epoch of 6 images are a step too."""
    run = tmp_path / "run"
    assert (
        run_until_stop(data, run, 2, accumulation_steps=batches) == validations
        and images_at_end(run) == validations[-1]
    )
    assert (
        run_until_stop(data, run, 2, accumulation_steps=batches) == validations
        and images_at_end(run) == validations[-1]
    )


def test_a_finished_run_is_not_validated_again(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    found = run_until_stop(data, run, 0, epochs=2)
    assert found == [2, 4, 6, 8, 10, 12]
    before = checkpoint_state(run)
    assert run_until_stop(data, run, 0, epochs=2) == found and identical(
        checkpoint_state(run), before
    )
