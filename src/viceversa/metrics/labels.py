"""Accuracy and intersection over union of label maps."""

from __future__ import annotations

import torch
from torch import Tensor


def confusion(predicted: Tensor, true: Tensor, classes: int) -> Tensor:
    """Count the pixels of each true class (row) by predicted class (column).

    Args:
        predicted: Classes as integers, (n, h, w).
        true: The same shape.
        classes: Number of classes.

    Returns:
        (classes, classes); matrices of several batches can be added.

    Raises:
        ValueError: Shapes differ, or a class is outside 0 to classes - 1.
    """
    if predicted.shape != true.shape:
        raise ValueError(
            f"label maps to compare must have one size, not {tuple(predicted.shape)} and "
            f"{tuple(true.shape)}"
        )
    for name, labels in (("predicted", predicted), ("true", true)):
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(
                f"the {name} label maps contain classes from {int(labels.min())} to "
                f"{int(labels.max())}; valid are 0 to {classes - 1}"
            )
    both = true.long().flatten() * classes + predicted.long().flatten()
    return torch.bincount(both, minlength=classes * classes).view(classes, classes)


def pixel_accuracy(matrix: Tensor) -> float:
    """Return the fraction of pixels of a `confusion` matrix whose class is right.

    Args:
        matrix: (classes, classes), the pixels of each true class (row) by predicted class.
    """
    return float(matrix.diagonal().sum() / matrix.sum())


def iou(matrix: Tensor) -> Tensor:
    """Return the intersection over union of each class (classes,); NaN for absent classes.

    Args:
        matrix: (classes, classes), the pixels of each true class (row) by predicted class.
    """
    right = matrix.diagonal().double()
    return right / (matrix.sum(0) + matrix.sum(1) - right)


def mean_iou(matrix: Tensor) -> float:
    """Return the mean of `iou` over the classes that are present.

    Args:
        matrix: (classes, classes), the pixels of each true class (row) by predicted class.
    """
    return float(iou(matrix).nanmean())
