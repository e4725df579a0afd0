"""Progress of a run, and the batches of its next optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..batch import Batch
from .step import MicroBatch


@dataclass(frozen=True)
class Progress:
    """Progress of a run: `batch` batches of `epoch` (from 1) are done, `images` images in all."""

    epoch: int = 1
    batch: int = 0
    images: int = 0

    def images_left(self, length: int, batch_size: int, epochs: int) -> int:
        """Return the images still to process, in epochs of `length` images."""
        return max(0, length * (epochs - self.epoch + 1) - self.batch * batch_size)

    @property
    def last_epoch(self) -> int:
        """Epoch of the latest step; 1 before the first step."""
        return self.epoch if self.batch else max(1, self.epoch - 1)


class Step(NamedTuple):
    """The batches of one optimizer step, before it is taken."""

    epoch: int
    first: int
    """Number of the first batch in its epoch, from 0."""
    batches: list[Batch | None]
    """This process's part of each batch; None: it has no valid image of it."""
    images: int
    """Images of all batches and processes, invalid ones included."""
    lr: float
    end: Progress
    """Progress of the run after the step."""

    @property
    def counts(self) -> list[int]:
        """Number of images of this process in each batch."""
        return [len(batch.a) if batch else 0 for batch in self.batches]

    def micro_batches(
        self, counts: Sequence[int], epochs: int, placeholder: Callable[[], Batch]
    ) -> list[MicroBatch]:
        """Return this process's part of the step, with the progress of a run of `epochs` epochs.

        Args:
            counts: Valid images in each batch, in all processes; batches without one are left out.
            epochs: Epochs of the run.
            placeholder: Returns a batch to use where this process has no image.
        """
        used = [(own, n) for own, n in zip(self.batches, counts, strict=True) if n]
        return [
            MicroBatch(self._with_progress(own, epochs), len(own.a) / n / len(used))
            if own
            else MicroBatch(self._with_progress(placeholder(), epochs), 0)
            for own, n in used
        ]

    def _with_progress(self, batch: Batch, epochs: int) -> Batch:
        """Set the progress as a tensor on the device, which a captured CUDA graph reads."""
        done = (self.epoch - 1) / epochs
        return batch._replace(progress=torch.full((), done, device=batch.a.device))
