"""Pictures of noise, for data sets of tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def noise_pairs(root: Path, count: int, side: int) -> Path:
    """`count` square images of chance colours in `root`/A and in `root`/B, of the same names."""
    rng = np.random.default_rng(0)
    for domain in "AB":
        (root / domain).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / domain / f"{number:02d}.png")
    return root
