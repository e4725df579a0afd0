"""Datasets that users pass to `viceversa.train`: any map-style datasets of tensors in [-1, 1]."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

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

TOLERANCE = 1e-3  # by which values may exceed [-1, 1], such as after bicubic resizing


class MapDataset(Protocol):
    """Map-style dataset, such as `torch.utils.data.Dataset`: items by index, from 0."""

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return an item."""
        ...


Sample = tuple[Tensor, Tensor]
"""Source and target (channels, h, w) in [-1, 1]."""
Sides = MapDataset | tuple[MapDataset, MapDataset]
"""A dataset of pairs, or one of images of A and one of images of B."""


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
            yield _stacked(samples, device)

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
        return _stacked([self[position] for position in positions], device)

    def first_batch(self) -> Batch:
        """Return the first sample of the first epoch."""
        source, target = self.first()
        return Batch(source[None], target[None])

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first (source, target) of the first epoch."""
        return self._sample((1, 0))

    def _indices(self, position: Position) -> tuple[int, int]:
        return sample_indices(self.seed, self.lengths, self.paired, self.training, position)

    def _sample(self, position: Position) -> tuple[Tensor, Tensor]:
        indices = self._indices(position)
        seed = np.random.SeedSequence((self.seed, ITEM, *position)).generate_state(1)[0]
        with seeded_on_cpu(int(seed)):
            images = load_images(self.data, dict(zip(self.direction, indices, strict=True)))
        source, target = (
            checked(image, domain, self.domains[domain].config.width)
            for domain, image in images.items()
        )
        return source, target


SplitDataset = ImageDataset | UserDataset


def _stacked(samples: Sequence[Sample | UserError], device: torch.device) -> Batch | None:
    """Return a batch; None without samples. Raises UserError."""
    valid: list[Sample] = []
    for sample in samples:
        if isinstance(sample, UserError):
            raise sample
        valid.append(sample)
    if not valid:
        return None
    sources, targets = zip(*valid, strict=True)
    for images in (sources, targets):
        check_same_size(images)
    return Batch(torch.stack(sources).to(device), torch.stack(targets).to(device))


def load_images(data: Sides, indices: Mapping[str, int]) -> dict[str, Any]:
    """Return images by domain.

    Args:
        data: A dataset of pairs, or two datasets.
        indices: Index of the image by domain; an item with both is loaded once.
    """
    if isinstance(data, tuple):
        sides = dict(zip("ab", data, strict=True))
        return {domain: _only(sides[domain][i]) for domain, i in indices.items()}
    items = {index: _pair(data[index], index) for index in set(indices.values())}
    return {domain: items[index][domain] for domain, index in indices.items()}


def _pair(item: Any, index: int) -> Mapping[str, Any]:
    if isinstance(item, Mapping) and {"a", "b"} <= item.keys():
        return item
    if isinstance(item, tuple | list) and len(item) == 2:
        return {"a": item[0], "b": item[1]}
    raise UserError(
        f"item {index} of the dataset is not a pair (a, b), or a dict with a and b, but a "
        f"{type(item).__name__}",
        option="data",
    )


def _only(item: Any) -> Any:
    """Return the image of an item; torchvision's datasets return (image, label)."""
    return item[0] if isinstance(item, tuple | list) and item else item


def checked(image: Any, domain: str, channels: int | None) -> Tensor:
    """Return an image (channels, h, w) in [-1, 1] in the default dtype.

    Raises UserError if it is another value, or has not this number of channels.
    """
    what = f"image {domain.upper()} of an item of the dataset"
    if not isinstance(image, Tensor) or image.ndim != 3 or not image.is_floating_point():
        kind = type(image).__name__
        if isinstance(image, Tensor):
            kind = f"{str(image.dtype).removeprefix('torch.')} tensor {tuple(image.shape)}"
        raise UserError(
            f"{what} is a {kind}; it must be a float tensor (channels, height, width) with values "
            "in [-1, 1], such as image / 127.5 - 1 of 8-bit pixels",
            option="data",
        )
    if channels is not None and image.shape[0] != channels:
        raise UserError(f"{what} has {image.shape[0]} channels, not {channels}", option="data")
    if not image.numel():
        raise UserError(f"{what} is empty: {tuple(image.shape)}", option="data")
    low, high = map(float, image.aminmax())
    if not (low >= -1 - TOLERANCE and high <= 1 + TOLERANCE):  # also if they are NaN
        raise UserError(
            f"{what} has values from {low:g} to {high:g}, not in [-1, 1]", option="data"
        )
    return image.detach().to("cpu", torch.get_default_dtype())
