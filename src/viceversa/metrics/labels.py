"""How many pixels of a label map are of the right class."""

from __future__ import annotations

import torch
from torch import Tensor


def confusion(made: Tensor, true: Tensor, classes: int) -> Tensor:
    """How many pixels of each true class (row) were given each class (column): (classes, classes).

    `made`, `true`: classes as integers, (n, h, w) each; matrices of several batches add up. Raises
    ValueError for a class outside 0 to classes - 1.
    """
    if made.shape != true.shape:
        raise ValueError(f"label maps to compare must be of one size, not {tuple(made.shape)} and "
                         f"{tuple(true.shape)}")  # fmt: skip
    for name, labels in (("made", made), ("true", true)):
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(f"the {name} label maps hold classes from {int(labels.min())} to "
                             f"{int(labels.max())}; there are 0 to {classes - 1}")  # fmt: skip
    both = true.long().flatten() * classes + made.long().flatten()
    return torch.bincount(both, minlength=classes * classes).view(classes, classes)


def pixel_accuracy(matrix: Tensor) -> float:
    """The share of pixels whose class is right, from 0 to 1, of a `confusion`."""
    return float(matrix.diagonal().sum() / matrix.sum())


def iou(matrix: Tensor) -> Tensor:
    """Intersection over union of each class (classes,) of a `confusion`; nan of one in neither."""
    right = matrix.diagonal().double()
    return right / (matrix.sum(0) + matrix.sum(1) - right)


def mean_iou(matrix: Tensor) -> float:
    """The mean of `iou` over the classes that are in either, from 0 to 1."""
    return float(iou(matrix).nanmean())
