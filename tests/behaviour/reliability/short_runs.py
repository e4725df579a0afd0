"""Training runs that take a second: tiny networks on a few noise images."""

from __future__ import annotations

from pathlib import Path

from support import noise_pairs, option_arguments

IMAGES = 8


def write_pairs(folder: Path) -> Path:
    """Write pairs of noise images."""
    return noise_pairs(folder, IMAGES, 20)


def arguments(data: Path, run: Path, epochs: int, width: int = 2) -> list[str]:
    """Return the arguments of the command `viceversa`."""
    options = {
        "generator.width": width,
        "generator.depth": 2,
        "discriminator.width": 2,
        "discriminator.layers": 1,
        "data.load_size": 18,
        "data.crop_size": 16,
        "data.workers": 0,
        "train.run": run,
        "train.epochs": epochs,
        "train.device": "cpu",
        "train.precision": "fp32",
        "train.samples": 1,
        "train.sample_every": 10**9,
    }
    return ["train", "pix2pix", str(data), *option_arguments(options)]
