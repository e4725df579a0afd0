"""The micro-batches of an optimizer step: weights, placeholders and the progress of the run."""

from __future__ import annotations

import torch

from viceversa.batch import Batch
from viceversa.training.progress import Progress, Step


def batch(images: int, value: float = 0.0) -> Batch:
    return Batch(*torch.full((2, images, 3, 4, 4), value))


def step(epoch: int, *batches: Batch | None) -> Step:
    return Step(epoch, 0, list(batches), 0, 1e-4, Progress())


def test_weights_are_fractions_of_the_images_of_a_step() -> None:
    found = step(1, batch(2), None, batch(1)).micro_batches([3, 1, 1], 4, lambda: batch(1, 7.0))
    assert [round(weight, 6) for _, weight in found] == [round(2 / 9, 6), 0, round(1 / 3, 6)]
    assert float(found[1].images.a.mean()) == 7
    left_out = step(1, None, batch(1)).micro_batches([0, 1], 4, lambda: batch(1, 7.0))
    assert [weight for _, weight in left_out] == [1]
    assert step(1, None).micro_batches([0], 4, lambda: batch(1)) == []


def test_the_progress_is_the_fraction_of_the_epochs_that_are_done() -> None:
    for epoch, done in ((1, 0.0), (2, 0.25), (4, 0.75)):
        (own, other) = step(epoch, batch(1), None).micro_batches([1, 1], 4, lambda: batch(1))
        for images in (own.images, other.images):
            assert isinstance(images.progress, torch.Tensor)
            assert images.progress.shape == () and float(images.progress) == done
            assert torch.equal(images.tensors[-1], images.progress)  # copied into a CUDA graph
