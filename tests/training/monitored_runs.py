"""Tiny runs with validation and diagnostics, and their logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support import log_lines, noise_pairs

from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import RunConfig, resolve

METHODS = ("pix2pix", "cyclegan")
NEVER = 10**9


def noise_splits(root: Path, train: int = 6, side: int = 20, **splits: int) -> Path:
    """Write noise pairs to split folders: `train`, and as many as given for the other splits."""
    for split, count in {"train": train, **(splits or {"val": 3})}.items():
        noise_pairs(root / split, count, side)
    return root


def tiny_sections(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> Sections:
    """Return settings with dropout, batch norm and an image pool."""
    small: Sections = {
        "generator": {
            "name": "unet",
            "width": 2,
            "depth": 2,
            "norm": "batch",
            "dropout_layers": 1,
            "dropout_from": 1,
        },
        "discriminator": {"width": 2, "layers": 1, "norm": "batch"},
        "data": {"path": str(data), "load_size": 18, "crop_size": 16, "workers": 0},
        "train": {
            "run": str(run),
            "epochs": 2,
            "device": "cpu",
            "precision": "fp32",
            "log_every": 4,
            "samples": 1,
            "sample_every": NEVER,
        },
        "validate": {"every": 4, "health": 0},
    }
    if name == "cyclegan":
        small["method"] = {"pool_size": 3}
    return merge(merge(read_recipe(name), small), more)


def settings(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> RunConfig:
    return resolve(tiny_sections(name, data, run, **more))


def lines(run: Path, kind: str) -> list[dict[str, Any]]:
    """Return the log lines of a kind."""
    return log_lines(run, kind)
