"""Batches of an epoch: threads decode files ahead; the rest is done on request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import torch
from torch import Tensor

from ..batch import Batch
from .order import Position
from .user import SplitDataset, UserDataset

SelectPart = Callable[[list[Position]], Sequence[Position]]
PREFETCH = 4  # batches whose files are decoded before they are requested


class Buffer:
    """Reusable memory for one side of a batch: new pages cost more than filling them."""

    def __init__(self) -> None:
        self._values = torch.empty(0)

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor of a shape in the default dtype; its contents are undefined."""
        count = math.prod(shape)
        if self._values.numel() < count or self._values.dtype != torch.get_default_dtype():
            self._values = torch.empty(count)
        return self._values[:count].view(shape)


class Loader:
    """Load the batches of a split, epoch after epoch.

    Threads decode images that are not cached, some batches ahead (decoding releases Python's lock).
    Cropping and scaling take a twentieth of that time and are done when a batch is requested.
    A batch is valid while `held` more batches are requested; its memory is then used again.

    Args:
        dataset: The split.
        batch_size: Samples in a batch, over all processes.
        device: Where batches are stored.
        select_part: Selects the positions of a batch that this process loads.
        held: Batches that stay valid beside the latest one.
    """

    def __init__(
        self,
        dataset: SplitDataset,
        batch_size: int,
        device: torch.device,
        select_part: SelectPart = list[Position],
        held: int = 1,
    ):
        self.dataset, self.batch_size, self.device = dataset, batch_size, device
        self.select_part = select_part
        self._buffers = cycle([(Buffer(), Buffer()) for _ in range(held + 1)])

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch | None]:
        """Yield the batches of an epoch.

        Args:
            epoch: Number of the epoch, from 1.
            start: Number of the first batch to yield, from 0.

        Yields:
            Batches; the last one may be smaller. None if every image of a batch is invalid, or
            this process has no part of it.

        Raises:
            UserError: Too many images are invalid, or images of a batch differ in size.
        """
        size = self.batch_size
        positions = [(epoch, position) for position in range(len(self.dataset))]
        batches = [positions[i : i + size] for i in range(start * size, len(positions), size)]
        parts = [self.select_part(batch) for batch in batches]
        if isinstance(self.dataset, UserDataset):
            yield from self.dataset.batches(parts, self.device)
            return
        workers = self.dataset.config.workers
        pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="decode")
        try:
            for number in range(-PREFETCH, len(parts)):
                if workers and number + PREFETCH < len(parts):
                    self.dataset.prefetch(parts[number + PREFETCH], pool)
                if number >= 0:
                    yield self.dataset.batch(parts[number], self.device, next(self._buffers))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            self.dataset.store.cancel_prefetch()
