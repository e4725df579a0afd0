"""Early stopping ends all of several processes; none waits for another."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import log_lines, noise_pairs
from train_processes import train_in_processes

from viceversa.checkpoint import load_state
from viceversa.config.recipes import Sections, merge, read_recipe


def settings(data: Path, run: Path) -> Sections:
    """Return settings with lr 0, so that the first validation stays the best."""
    return merge(
        read_recipe("pix2pix"),
        {
            "generator": {"name": "unet", "width": 2, "depth": 2, "norm": "instance"},
            "discriminator": {"width": 2, "layers": 1, "norm": "instance"},
            "data": {"path": str(data), "preprocess": "none", "workers": 0},
            "train": {
                "run": str(run),
                "epochs": 20,
                "device": "cpu",
                "precision": "fp32",
                "batch_size": 2,
                "lr": 0.0,
                "samples": 0,
                "rank_timeout": 20.0,
                "ema": 0.9,
            },
            "validate": {"every": 2, "patience": 2},
        },
    )


def images(run: Path) -> int:
    count: int = load_state(max((run / "checkpoints").glob("*.safetensors")))["images"]
    return count


@pytest.mark.slow
def test_both_of_two_processes_end_early(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    for split, count in (("train", 6), ("val", 2)):
        noise_pairs(data / split, count, 16)
    text = train_in_processes(2, settings(data, run), tmp_path / "first")
    assert text.count("validation on 2 images of val") == 1  # only the first process validates
    assert [line["images"] for line in log_lines(run, "validation")] == [2, 4, 6]
    # The other processes learn of the stop with the next step.
    assert images(run) == 8
    train_in_processes(2, settings(data, run), tmp_path / "again")
    assert images(run) == 8
