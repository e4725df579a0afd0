"""Runs of training that take a second: tiny networks on a few made images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

IMAGES = 8


def make_data(folder: Path) -> Path:
    """Pairs of noise."""
    rng = np.random.default_rng(0)
    for domain in "AB":
        (folder / domain).mkdir(parents=True)
        for number in range(IMAGES):
            pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / domain / f"{number:02d}.png")
    return folder


def arguments(data: Path, run: Path, epochs: int, width: int = 2) -> list[str]:
    """The words behind `viceversa`."""
    settings = {
        "generator.width": width, "generator.depth": 2, "discriminator.width": 2,
        "discriminator.layers": 1, "data.load_size": 18, "data.crop_size": 16, "data.workers": 0,
        "train.run": run, "train.epochs": epochs, "train.device": "cpu", "train.samples": 1,
        "train.sample_every": 10**9,
    }  # fmt: skip
    words = ["train", "pix2pix", str(data)]
    for key, value in settings.items():
        words += [f"--{key}", str(value)]
    return words
