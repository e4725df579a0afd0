"""Tiny runs that are looked at while they train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support import noise_pairs

from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import RunConfig, resolve

METHODS = ("pix2pix", "cyclegan")
NEVER = 10**9


def data_set(root: Path, train: int = 6, side: int = 20, **splits: int) -> Path:
    """Images of noise in `train`, and so many in each other split."""
    for split, count in {"train": train, **(splits or {"val": 3})}.items():
        noise_pairs(root / split, count, side)
    return root


def tiny(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> Sections:
    """Dropout, batch norm and pools on: all that a look could disturb."""
    small: Sections = {
        "generator": {"name": "unet", "width": 2, "depth": 2, "norm": "batch",
                      "dropout_layers": 1, "dropout_from": 1},
        "discriminator": {"width": 2, "layers": 1, "norm": "batch"},
        "data": {"path": str(data), "load_size": 18, "crop_size": 16, "workers": 0},
        "train": {"run": str(run), "epochs": 2, "device": "cpu", "log_every": 4, "samples": 1,
                  "sample_every": NEVER},
        "validate": {"every": 4, "health": 0},
    }  # fmt: skip
    if name == "cyclegan":
        small["method"] = {"pool_size": 3}
    return merge(merge(read_recipe(name), small), more)


def settings(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> RunConfig:
    return resolve(tiny(name, data, run, **more))


def lines(run: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of the log that have something to say of that kind."""
    every = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in every if kind in line]
