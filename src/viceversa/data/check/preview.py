"""Preview: the images of a dataset as the networks get them in training."""

from __future__ import annotations

from pathlib import Path

import torch

from ...images import write
from ...images.tensors import grid, shown
from ..dataset import Pictures
from ..fit import fit_domains
from .result import CheckResult, usable_splits

ROWS, EPOCHS = 6, 3


def write_preview(check: CheckResult, path: Path, seed: int = 0) -> None:
    """Write a grid: a row for each image, with (source, target) of three epochs.

    Raises:
        UserError: If the dataset cannot be trained on.
    """
    index = usable_splits(check)["train"]
    domains = fit_domains(index, check.domains["train"], check.config)
    dataset = Pictures(index, check.config, domains, check.paired, seed, training=True)
    source, target = (dataset.domains[side] for side in dataset.sides)
    rows = []
    for number in range(min(ROWS, len(dataset))):
        row = []
        wanted = dataset.indices(1, number)[0]  # the same image in each epoch
        for epoch in range(1, EPOCHS + 1):
            positions = range(len(dataset))
            position = next(p for p in positions if dataset.indices(epoch, p)[0] == wanted)
            batch = dataset.batch([(epoch, position)], torch.device("cpu"))
            if batch is not None:
                row += [shown(batch[0], source)[0], shown(batch[1], target, batch[0])[0]]
        rows.append(row)
    write(path, grid(rows))
