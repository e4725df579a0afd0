"""Label maps, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from viceversa.metrics.labels import confusion, iou, mean_iou, pixel_accuracy

TRUE = torch.tensor([[[0, 0, 1], [1, 1, 2]]])
MADE = torch.tensor([[[0, 1, 1], [1, 2, 2]]])


def test_by_hand() -> None:
    matrix = confusion(MADE, TRUE, 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert pixel_accuracy(matrix) == pytest.approx(4 / 6)
    each = iou(matrix).tolist()
    assert each[:3] == pytest.approx([1 / 2, 2 / 4, 1 / 2]) and math.isnan(each[3])
    assert mean_iou(matrix) == pytest.approx(0.5)  # the class that is in neither does not count


def test_a_class_that_was_made_and_is_not_there_counts() -> None:
    made = MADE.clone()
    made[0, 0, 0] = 3
    assert mean_iou(confusion(made, TRUE, 4)) == pytest.approx((0 + 2 / 4 + 1 / 2 + 0) / 4)


def test_batches_add_up() -> None:
    random = torch.Generator().manual_seed(0)
    made, true = torch.randint(5, (2, 6, 7, 8), generator=random)
    whole = confusion(made, true, 5)
    assert torch.equal(whole, confusion(made[:2], true[:2], 5) + confusion(made[2:], true[2:], 5))
    assert int(whole.sum()) == made.numel()
    assert pixel_accuracy(confusion(true, true, 5)) == 1 == mean_iou(confusion(true, true, 5))


def test_classes_that_are_none_are_refused() -> None:
    with pytest.raises(
        ValueError, match="true label maps contain classes from 0 to 2; valid are 0"
    ):
        confusion(MADE.clamp(max=1), TRUE, 2)
    with pytest.raises(ValueError, match="predicted label maps contain classes from -1"):
        confusion(MADE - 1, TRUE, 3)
    with pytest.raises(ValueError, match="one size"):
        confusion(MADE[:, :1], TRUE, 3)
