"""Datasets that users pass to `viceversa.train`: any map-style datasets of tensors in [-1, 1]."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..batch import Batch
from ..directions import ENDS, Direction, in_data
from ..errors import UserError
from ..images.domain import Domain
from ..images.values import Allocate
from ..runtime.random_state import seeded_on_cpu
from .dataset import NEW_MEMORY, ImageDataset, check_same_size
from .invalid_files import InvalidFiles
from .order import ITEM, Position, epoch_length, sample_indices
from .user_items import Image, Sides, checked, load_images

Sample = tuple[Image, Image]
"""Source and target."""


class ItemCounts(NamedTuple):
    """Number of items of A and of B: all that checkpoints know of such a dataset."""

    a: int
    b: int

    @property
    def fingerprint(self) -> str:
        """Hash of the numbers."""
        return hashlib.sha256(repr(tuple(self)).encode()).hexdigest()

    @property
    def state(self) -> dict[str, Any]:
        """The numbers, for a checkpoint."""
        return {"items": list(self)}


class UserDataset:
    """Dataset of one split; a sample depends only on (seed, epoch, position).

    Items are used as they are: nothing is resized, cropped or augmented. While an item is loaded,
    the global random generators are seeded by (seed, epoch, position), so that random augmentation
    in the user's dataset is the same in a resumed run, and with any number of workers. Threads
    share these generators, and the user's code may not be thread-safe: workers are processes.

    Args:
        data: The user's dataset of pairs, or the two datasets of A and B.
        domains: Domains A and B, before the direction is applied.
        direction: `ab` or `ba`: the domains of source and target.
        paired: Whether the source and target of a sample are a pair.
        seed: Seed of the order and of the items.
        training: Whether samples are shuffled.
        workers: Processes that load items ahead in `batches`; 0: none.
    """

    def __init__(
        self,
        data: Sides,
        domains: Mapping[str, Domain],
        direction: Direction,
        paired: bool,
        seed: int,
        training: bool = False,
        workers: int = 0,
    ):
        self.data, self.domains, self.direction = data, dict(domains), direction
        self.paired, self.seed, self.training = paired, seed, training
        self.workers, self.invalid = workers, InvalidFiles()

    @property
    def contents(self) -> ItemCounts:
        """Number of items of A and of B."""
        a, b = self.data if isinstance(self.data, tuple) else (self.data, self.data)
        return ItemCounts(len(a), len(b))

    def domains_of(self, direction: Direction) -> tuple[Domain, Domain]:
        """Return the domains of source and target images of a direction of the method."""
        source, target = (in_data(end, self.direction) for end in ENDS[direction])
        return self.domains[source], self.domains[target]

    @property
    def lengths(self) -> tuple[int, int]:
        """Number of source images and of target images."""
        a, b = self.contents
        return (a, b) if self.direction == "ab" else (b, a)

    def __len__(self) -> int:
        """Return the number of samples in an epoch."""
        return epoch_length(self.lengths, self.paired)

    def names_hash(self) -> str:
        """Return a hash of the number of items, which have no names."""
        return self.contents.fingerprint

    def names(self, epoch: int, position: int) -> list[str]:
        """Return the indices of the items of a sample, as text for messages."""
        source, target = self._indices((epoch, position))
        if self.paired:
            return [f"item {source}"]
        sides = zip(self.direction.upper(), (source, target), strict=True)
        return [f"item {index} of {domain}" for domain, index in sides]

    def batches(
        self, parts: Sequence[Sequence[Position]], device: torch.device
    ) -> Iterator[Batch | None]:
        """Yield the batch at each list of positions; None for an empty one. Raises UserError."""
        dataset: Any = self
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=[list(part) for part in parts],
            num_workers=self.workers,
            collate_fn=list,
            generator=torch.Generator(),  # else the global one would be used
        )
        for samples in loader:
            yield self._stacked(samples, device)

    def __getitem__(self, position: Position) -> Sample | UserError:
        """Return the sample at a position, or its error: torch would add a traceback to it."""
        try:
            return self._sample(position)
        except UserError as error:
            return error

    def batch(
        self,
        positions: Sequence[Position],
        device: torch.device,
        buffers: tuple[Allocate, Allocate] = NEW_MEMORY,
        fill: bool = True,
    ) -> Batch | None:
        """Return the samples at some positions, as `ImageDataset.batch`.

        Raises:
            UserError: An item is invalid, or images differ in size.
        """
        return self._stacked([self[position] for position in positions], device, fill)

    @cached_property
    def has_weights(self) -> bool:
        """Whether batches have weights: the first item decides."""
        with seeded_on_cpu(0):
            images = load_images(self.data, {"a": 0, "b": 0})
        return any(weight is not None for _, weight in images.values())

    def first_batch(self) -> Batch:
        """Return the first sample of the first epoch."""
        batch = self.batch([(1, 0)], torch.device("cpu"))
        assert batch is not None
        return batch

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first (source, target) of the first epoch."""
        (source, _), (target, _) = self._sample((1, 0))
        return source, target

    def _indices(self, position: Position) -> tuple[int, int]:
        return sample_indices(self.seed, self.lengths, self.paired, self.training, position)

    def _sample(self, position: Position) -> Sample:
        indices = self._indices(position)
        seed = np.random.SeedSequence((self.seed, ITEM, *position)).generate_state(1)[0]
        with seeded_on_cpu(int(seed)):
            images = load_images(self.data, dict(zip(self.direction, indices, strict=True)))
        source, target = (
            checked(*image, domain, self.domains[domain].config.width)
            for domain, image in images.items()
        )
        return source, target

    def _stacked(
        self, samples: Sequence[Sample | UserError], device: torch.device, fill: bool = True
    ) -> Batch | None:
        """Return a batch; None without samples. Raises UserError."""
        valid: list[Sample] = []
        for sample in samples:
            if isinstance(sample, UserError):
                raise sample
            valid.append(sample)
        if not valid:
            return None
        images, weights = [], []
        for side in zip(*valid, strict=True):
            check_same_size([image for image, _ in side])
            images.append(torch.stack([image for image, _ in side]).to(device))
            weights.append(self._weight(side, device))
        fills = [self.domains[domain].config.nodata_fill for domain in self.direction]
        values = fills if fill else [math.nan] * 2
        for i, weight in enumerate(weights):
            if weight is not None:
                images[i] = images[i].masked_fill(weight == 0, values[i])
        return Batch(images[0], images[1], *(weights if fill else (None, None)), *fills)

    def _weight(self, images: Sequence[Image], device: torch.device) -> Tensor | None:
        """Return the weights (n, 1, h, w) of images, 1 for those without a weight.

        None if the dataset has no weights. Raises UserError if one of the images has a weight then.
        """
        if self.has_weights:
            ones = [torch.ones_like(image[:1]) if one is None else one for image, one in images]
            return torch.stack(ones).to(device)
        if any(one is not None for _, one in images):
            raise UserError(
                "an item of the dataset has a weight, and the first item has none; give the first "
                "item a weight too, such as ones",
                option="data",
            )
        return None


SplitDataset = ImageDataset | UserDataset
