"""Deterministic dataset: a sample depends only on (seed, epoch, position)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ..batch import Batch
from ..directions import ENDS, Direction, in_data
from ..errors import UserError
from ..images.domain import Domain
from ..images.sources import ArchiveChanged, Source
from ..images.values import Allocate, data_weight, fill_nodata, stack_values, to_values
from .cache import ImageStore
from .config import DataConfig
from .contents import Contents, contents
from .crops import crops_with_data, lacks_data
from .index import SplitIndex
from .invalid_files import InvalidFiles
from .order import CROP, Position, epoch_length, sample_indices
from .transforms import (
    NO_AUGMENTATION,
    Augmentation,
    color_jitter,
    crop_and_flip,
    draw_augmentation,
    has_warp,
    warp,
)

Item = tuple[Tensor, Tensor, tuple[Augmentation, Augmentation]]
"""Source and target (channels, h, w), and the augmentation of each."""
NEW_MEMORY: tuple[Allocate, Allocate] = torch.empty, torch.empty


class ImageDataset:
    """Dataset of one split; a sample depends only on (seed, epoch, position).

    Samples are (source, target): the only code that applies `config.direction`. Paired: one crop,
    flip and warp for both images. Unpaired: an epoch has as many samples as the larger domain has
    images; the source is processed in a random order, the target is drawn at random (as in the
    loader of CycleGAN), and each has its own augmentation.

    Args:
        index: The files of the split.
        config: Settings of the data.
        domains: Domains A and B, before the direction is applied.
        paired: Whether `index.a[i]` belongs to `index.b[i]`.
        seed: Seed of order and augmentation.
        training: Whether samples are shuffled and augmented.
        digests: SHA-256 of each file, if known.
    """

    def __init__(
        self,
        index: SplitIndex,
        config: DataConfig,
        domains: tuple[Domain, Domain],
        paired: bool,
        seed: int,
        training: bool,
        digests: Mapping[Source, str] | None = None,
    ):
        self.index, self.config, self.paired = index, config, paired
        self.seed, self.training = seed, training
        self.domains = dict(zip("ab", domains, strict=True))
        self.digests = digests or {}
        self.store = ImageStore(index, config, self.domains)
        self.invalid = InvalidFiles()

    @property
    def direction(self) -> Direction:
        """`ab` or `ba`: the domains of source and target."""
        return self.config.direction

    @property
    def has_weights(self) -> bool:
        """Whether images can have pixels without data, so that batches have weights."""
        return bool(self.index.masks) or any(one.may_lack_data for one in self.domains.values())

    def domains_of(self, direction: Direction) -> tuple[Domain, Domain]:
        """Return the domains of source and target images of a direction of the method."""
        source, target = (in_data(end, self.direction) for end in ENDS[direction])
        return self.domains[source], self.domains[target]

    @property
    def lengths(self) -> tuple[int, int]:
        """Number of source images and of target images."""
        source, target = (len(self.index.files(domain)) for domain in self.direction)
        return source, target

    def __len__(self) -> int:
        """Return the number of samples in an epoch."""
        return epoch_length(self.lengths, self.paired)

    def sources(self, domain: str) -> tuple[Source, ...]:
        """Return the files of a domain (`a`, `b`)."""
        return self.index.files(domain)

    def cache_on_disk(self, folder: Path, note: Callable[[str], None]) -> None:
        """Cache every decoded and resized image in a file in `folder`."""
        self.store.cache_on_disk(folder, self.digests, note)

    def indices(self, epoch: int, position: int) -> tuple[int, int]:
        """Return the index of the source and of the target at a position of an epoch."""
        where = epoch, position
        return sample_indices(self.seed, self.lengths, self.paired, self.training, where)

    @cached_property
    def contents(self) -> Contents:
        """Names and digests of all images, in their order."""
        sides = self.sources("a"), self.sources("b")
        return contents(sides, self.digests, Path(self.config.path))

    def names_hash(self) -> str:
        """Return a hash of all file names, which checkpoints without digests contain."""
        names = [source.name.name for domain in "ab" for source in self.sources(domain)]
        return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()

    def names(self, epoch: int, position: int) -> list[str]:
        """Return the names of the source and target files at a position, each once."""
        return list(dict.fromkeys(str(self.sources(d)[i]) for d, i in self.keys(epoch, position)))

    def keys(self, epoch: int, position: int) -> list[tuple[str, int]]:
        """Return (domain, index) of the source and of the target at a position."""
        return list(zip(self.direction, self.indices(epoch, position), strict=True))

    def image(self, domain: str, index: int) -> Tensor:
        """Return an image (channels, h, w) of a domain, decoded and resized.

        An image with no-data pixels is of floats, with NaN where it has no data.

        Raises:
            UserError: It cannot be loaded.
        """
        return self.store.get((domain, index))

    def prefetch(self, positions: Sequence[Position], pool: Executor) -> None:
        """Start to decode the images at some positions in a pool of threads, unless cached."""
        for position in positions:
            for key in self.keys(*position):
                self.store.prefetch(key, pool)

    def item(self, epoch: int, position: int) -> Item:
        """Return the sample at a position, cropped and flipped.

        Raises:
            UserError: An image cannot be loaded.
        """
        draws = NO_AUGMENTATION, NO_AUGMENTATION
        if self.training:
            stream = (self.seed, CROP, epoch, position)
            first = draw_augmentation(self.config, (*stream, 0))
            draws = first, first if self.paired else draw_augmentation(self.config, (*stream, 1))
        images = [self.image(*key) for key in self.keys(epoch, position)]
        first, second = crops_with_data(images, draws, self.config, self.paired)
        source, target = (
            crop_and_flip(image, self.config, draw)
            for image, draw in zip(images, (first, second), strict=True)
        )
        return source, target, (first, second)

    def batch(
        self,
        positions: Sequence[Position],
        device: torch.device,
        buffers: tuple[Allocate, Allocate] = NEW_MEMORY,
        fill: bool = True,
    ) -> Batch | None:
        """Return the augmented samples at some positions.

        Args:
            positions: The positions. Samples with invalid images are left out.
            device: Where the batch is stored and augmented.
            buffers: Allocate the memory of sources and of targets.
            fill: Whether pixels without data get the domain's `nodata_fill` instead of NaN.

        Returns:
            The batch; None if every sample is invalid. It has weights if images of this dataset can
            have pixels without data.

        Raises:
            UserError: Images differ in size, or more files than `data.max_invalid` are invalid.
        """
        items = [item for one in positions if (item := self._valid_item(one)) is not None]
        if not items:
            return None
        *images, draws = zip(*items, strict=True)
        sides, domains = [], [self.domains[name] for name in self.direction]
        for i, domain in enumerate(domains):
            augmentations = [pair[i] for pair in draws]
            values = self._values(images[i], domain, augmentations, device, buffers[i])
            has_nan = lacks_data(images[i])
            if self.training and self.config.jitter and (i == 0 or self.config.jitter_on == "both"):
                values = color_jitter(values, augmentations, self.config.jitter, has_nan)
            sides.append(values)
        weights = self._weights(sides) if fill else (None, None)
        if fill:
            sides = [fill_nodata(one, domain) for one, domain in zip(sides, domains, strict=True)]
        fills = (domain.config.nodata_fill for domain in domains)
        return Batch(sides[0], sides[1], *weights, *fills)

    def values(
        self, domain: str, index: int, device: torch.device, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Return an image of a domain (`a`, `b`) without augmentation.

        Returns:
            (1, channels, h, w) in [-1, 1] of `dtype` (None: torch's default), NaN without data.

        Raises:
            UserError: The image cannot be loaded.
        """
        image = crop_and_flip(self.image(domain, index), self.config, NO_AUGMENTATION)
        return to_values(image[None].to(device), self.domains[domain], dtype)

    def first_batch(self) -> Batch:
        """Return the first valid sample of the first epoch."""
        every = (self.batch([(1, position)], torch.device("cpu")) for position in range(len(self)))
        return next(batch for batch in every if batch is not None)

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the images (channels, h, w) of the first valid sample of the first epoch."""
        batch = self.first_batch()
        return batch.a[0], batch.b[0]

    def _values(
        self,
        images: Sequence[Tensor],
        domain: Domain,
        draws: Sequence[Augmentation],
        device: torch.device,
        allocate: Allocate,
    ) -> Tensor:
        """Return images on the device, warped, as values in [-1, 1]."""
        check_same_size(images)
        if not (self.training and has_warp(self.config)):
            return stack_values(images, domain, device, allocate)
        stacked = torch.stack(list(images)).to(device, non_blocking=True)
        labels = domain.config.kind == "labels"
        return to_values(warp(stacked, draws, self.config, labels, lacks_data(images)), domain)

    def _weights(self, sides: Sequence[Tensor]) -> tuple[Tensor | None, Tensor | None]:
        """Return the weights of sources and targets (n, channels, h, w), NaN without data.

        None if no image of this dataset can have pixels without data.
        """
        if not self.has_weights:
            return None, None
        a, b = (data_weight(values) for values in sides)
        return (a * b, a * b) if self.paired else (a, b)

    def _valid_item(self, position: Position) -> Item | None:
        """Return a sample; if it is invalid, None: no other sample takes its place."""
        try:
            return self.item(*position)
        except ArchiveChanged:  # no single file is invalid
            raise
        except UserError as error:
            self.invalid.add(str(error))
            total = len(set(self.index.a) | set(self.index.b))
            if self.training and len(self.invalid.files) > self.config.max_invalid * total:
                raise
            return None


def check_same_size(images: Sequence[Tensor]) -> None:
    """Raise UserError if images (channels, h, w) differ in size."""
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        sizes = ", ".join(f"{w}x{h}" for _, h, w in sorted(shapes)[:4])
        raise UserError(
            f"images of different sizes ({sizes}) cannot share a batch; set train.batch_size "
            "to 1, or data.preprocess to resize_and_crop"
        )
