"""What the network will really see: the images of a data set as training makes them."""

from __future__ import annotations

from pathlib import Path

import torch

from ...images import write
from ...images.tensors import grid, shown
from ..config import DataConfig
from ..dataset import Pictures
from ..settle import settle
from .checked import Checked, usable

ROWS, EPOCHS = 6, 3


def preview(checked: Checked, config: DataConfig, path: Path, paired: bool, seed: int = 0) -> None:
    """Write a picture: a row an image, and in it (source, target) as each of three epochs has them.

    Raises UserError where the data set can't be trained on.
    """
    found = usable(checked, config)["train"]
    domains = settle(found, checked.sides, config)
    pictures = Pictures(found, config, domains, paired, seed, training=True)
    here, there = (pictures.domains[side] for side in pictures.sides)
    rows = []
    for number in range(min(ROWS, len(pictures))):
        row = []
        for epoch in range(1, EPOCHS + 1):
            places = range(len(pictures))  # the same image in each epoch, wherever it stands
            wanted = pictures.indices(1, number)[0]
            position = next(p for p in places if pictures.indices(epoch, p)[0] == wanted)
            batch = pictures.batch([(epoch, position)], torch.device("cpu"))
            if batch is not None:
                row += [shown(batch[0], here)[0], shown(batch[1], there, batch[0])[0]]
        rows.append(row)
    write(path, grid(rows))
