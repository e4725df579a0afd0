"""Batches of an epoch: threads decode files ahead, the rest is done on request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from .dataset import ImageDataset, Position

Batch = tuple[Tensor, Tensor]
SelectPart = Callable[[list[Position]], Sequence[Position]]
PREFETCH = 4  # batches whose files are decoded before they are asked for


class Buffer:
    """Reusable memory for one side of a batch: new pages cost more than filling them."""

    def __init__(self) -> None:
        self._values = torch.empty(0)

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        count = math.prod(shape)
        if self._values.numel() < count or self._values.dtype != torch.get_default_dtype():
            self._values = torch.empty(count)
        return self._values[:count].view(shape)


class Loader:
    """The batches of a split, epoch after epoch.

    Threads decode what is not kept yet, some batches ahead (decoding does not hold Python's lock).
    What is left, cropping and scaling, takes a twentieth of that, and is done by whoever asks for
    the batch. A batch is good until the next but one is asked for: its memory is used again. Of
    several processes each takes its `share` of every batch.
    """

    def __init__(
        self,
        pictures: ImageDataset,
        size: int,
        device: torch.device,
        share: SelectPart = list[Position],
    ):
        self.pictures, self.size, self.device, self.share = pictures, size, device, share
        self._rooms = [(Buffer(), Buffer()), (Buffer(), Buffer())]
        self._made = 0

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch | None]:
        """The batches of an epoch from the `start`-th on; the last one may be smaller.

        None where every image of a batch is bad, or the share of it is none. Raises UserError where
        too many are, and where images of a batch differ in size.
        """
        positions = [(epoch, position) for position in range(len(self.pictures))]
        batches = [positions[i : i + self.size] for i in range(0, len(positions), self.size)]
        groups = [self.share(batch) for batch in batches[start:]]
        workers = self.pictures.config.workers
        if not workers:
            yield from map(self._batch, groups)
            return
        pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        try:
            for group in groups[:PREFETCH]:
                self.pictures.prefetch(group, pool)
            for number, group in enumerate(groups):
                for later in groups[number + PREFETCH : number + PREFETCH + 1]:
                    self.pictures.prefetch(later, pool)
                yield self._batch(group)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            self.pictures.cancel_prefetch()

    def _batch(self, positions: Sequence[Position]) -> Batch | None:
        self._made += 1
        return self.pictures.batch(positions, self.device, self._rooms[self._made % 2])
