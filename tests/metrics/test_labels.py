"""Test metrics of label maps against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from viceversa.metrics.labels import confusion, iou, mean_iou, pixel_accuracy

TRUE = torch.tensor([[[0, 0, 1], [1, 1, 2]]])
PREDICTED = torch.tensor([[[0, 1, 1], [1, 2, 2]]])


def test_metrics_of_known_label_maps() -> None:
    matrix = confusion(PREDICTED, TRUE, 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert pixel_accuracy(matrix) == pytest.approx(4 / 6)
    each = iou(matrix).tolist()
    assert each[:3] == pytest.approx([1 / 2, 2 / 4, 1 / 2]) and math.isnan(each[3])
    assert mean_iou(matrix) == pytest.approx(0.5)  # a class in neither map does not count


def test_predicted_class_missing_in_the_target_counts() -> None:
    predicted = PREDICTED.clone()
    predicted[0, 0, 0] = 3
    assert mean_iou(confusion(predicted, TRUE, 4)) == pytest.approx((0 + 2 / 4 + 1 / 2 + 0) / 4)


def test_confusion_matrices_of_batches_add_up() -> None:
    random = torch.Generator().manual_seed(0)
    predicted, true = torch.randint(5, (2, 6, 7, 8), generator=random)
    total = confusion(predicted, true, 5)
    assert torch.equal(
        total, confusion(predicted[:2], true[:2], 5) + confusion(predicted[2:], true[2:], 5)
    )
    assert int(total.sum()) == predicted.numel()
    assert pixel_accuracy(confusion(true, true, 5)) == 1 == mean_iou(confusion(true, true, 5))


def test_invalid_classes_are_refused() -> None:
    with pytest.raises(
        ValueError, match="true label maps contain classes from 0 to 2; valid are 0"
    ):
        confusion(PREDICTED.clamp(max=1), TRUE, 2)
    with pytest.raises(ValueError, match="predicted label maps contain classes from -1"):
        confusion(PREDICTED - 1, TRUE, 3)
    with pytest.raises(ValueError, match="one size"):
        confusion(PREDICTED[:, :1], TRUE, 3)
