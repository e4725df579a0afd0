"""Training ends where so many validations in a row brought nothing better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monitored_runs import data_set, lines, tiny
from PIL import Image
from support import checkpoint_state, identical

from viceversa.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("early"))


def ran(data: Path, run: Path, patience: int, **train: Any) -> list[int]:
    """The command, on a run that never becomes better after its first validation: with a rate of 0.
    Returns the places of the validations; a run that ends otherwise than well raises."""
    more: dict[str, dict[str, Any]] = {
        "train": {"lr": 0.0, "epochs": 5, **train},
        "validate": {"every": 2, "patience": patience},
    }
    path = run.with_suffix(".json")
    path.write_text(json.dumps(tiny("pix2pix", data, run, **more)))
    main(["train", str(path)])
    return [line["images"] for line in lines(run, "validation")]


def at(run: Path) -> int:
    """Images at the last checkpoint."""
    images: int = checkpoint_state(run)["images"]
    return images


def test_it_ends_and_stays_ended_and_goes_on_with_more_patience(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert ran(data, run, 2) == [2, 4, 6] and at(run) == 6  # the best, and two that are not better
    assert (run / "checkpoints" / "0000000006.safetensors").is_file()
    assert (run / "ab.safetensors").is_file() and (run / "best" / "ab.safetensors").is_file()
    before = checkpoint_state(run)
    assert ran(data, run, 2) == [2, 4, 6] and identical(checkpoint_state(run), before)
    assert ran(data, run, 4) == [2, 4, 6, 8, 10] and at(run) == 10
    assert ran(data, run, 0)[-1] == 30 and at(run) == 30  # no patience asked for: to the end


def test_what_becomes_better_goes_on(tmp_path: Path) -> None:
    """The control: the same with a rate, towards targets of one colour, which are soon learnt."""
    data, run = data_set(tmp_path / "data"), tmp_path / "run"
    for path in data.glob("*/B/*.png"):
        Image.new("RGB", (20, 20), (240, 240, 200 + int(path.stem))).save(path)
    assert ran(data, run, 2, lr=2e-3, epochs=2) == [2, 4, 6, 8, 10, 12] and at(run) == 12


@pytest.mark.parametrize(("batches", "places"), [(2, [2, 4, 6]), (3, [3, 6, 9]), (4, [4, 6, 10])])
def test_it_validates_and_ends_after_a_whole_step(
    batches: int, places: list[int], data: Path, tmp_path: Path
) -> None:
    """With gradient accumulation, the last batches of an epoch of 6 images are a step as well."""
    run = tmp_path / "run"
    assert ran(data, run, 2, accumulation_steps=batches) == places and at(run) == places[-1]
    assert ran(data, run, 2, accumulation_steps=batches) == places and at(run) == places[-1]


def test_a_run_that_is_over_is_not_measured_again(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    found = ran(data, run, 0, epochs=2)
    assert found == [2, 4, 6, 8, 10, 12]
    before = checkpoint_state(run)
    assert ran(data, run, 0, epochs=2) == found and identical(checkpoint_state(run), before)
