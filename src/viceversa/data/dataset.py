"""Deterministic dataset: a sample depends only on (seed, epoch, position)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UserError
from ..images.domain import Domain
from ..images.loading import half_of, load, resize_for, to_domain_range
from ..images.sources import ArchiveChanged, Source
from ..images.values import Allocate, fill_nodata, stack_values, to_tensor, to_values
from .cache import DiskCache, Key, LoadTimeout, MemoryCache, open_disk_cache, result_within
from .check.result import FIRST, first_few
from .config import DataConfig, resized_size
from .contents import Contents, contents
from .index import SplitIndex
from .transforms import (
    NO_AUGMENTATION,
    Augmentation,
    color_jitter,
    crop_and_flip,
    draw_augmentation,
    has_warp,
    warp,
)

Position = tuple[int, int]  # epoch, position in it
LOAD_TIMEOUT = 30.0  # seconds that an image may take to load
FRESH: tuple[Allocate, Allocate] = torch.empty, torch.empty
ORDER, CROP = 0, 1  # separate streams of random numbers


@dataclass
class InvalidFiles:
    """Files that could not be used: a sentence each. `news` are those not yet reported."""

    files: list[str] = field(default_factory=list)
    news: list[str] = field(default_factory=list)

    def report(self, last: bool) -> str:
        """Return a line about the files not yet reported, or an empty text.

        The first few are reported at once, later ones together when it is the `last` call of an
        epoch: a disk that fails makes one line and not one per image.
        """
        if not self.news or (len(self.files) - len(self.news) >= FIRST and not last):
            return ""
        line = f"{len(self.news)} more files: " if len(self.files) > FIRST else ""
        line += first_few(self.news)
        self.news.clear()
        return line


class ImageDataset:
    """Dataset of one split; a sample depends only on (seed, epoch, position).

    Source and target come in that order: the only code in which `direction` is applied. Paired: one
    crop, flip and warp for both. Unpaired: an epoch is as long as the larger domain; the source
    is processed in a random order, the target is drawn at random (CycleGAN's own loader), and each
    has its own. `domains` are those of A and B, before any direction is applied.
    """

    def __init__(
        self, index: SplitIndex, config: DataConfig, domains: tuple[Domain, Domain],
        paired: bool, seed: int, training: bool, digests: Mapping[Source, str] | None = None,
    ):  # fmt: skip
        """`digests`: the SHA-256 of each file, where it is known."""
        self.digests = digests or {}
        self.index, self.config, self.paired = index, config, paired
        self.seed, self.training = seed, training
        self.domains = dict(zip("ab", domains, strict=True))
        self.sides = "ab" if config.direction == "ab" else "ba"
        self.lengths = tuple(len(self.sources(side)) for side in self.sides)
        self.bad = InvalidFiles()
        self.other_dtypes: dict[str, None] = {}  # sentences about images unlike those of training
        self._cache: MemoryCache | DiskCache = MemoryCache(
            config.cache_megabytes if config.cache == "memory" else 0
        )
        self._ahead: dict[Key, Future[Tensor]] = {}
        self._orders: dict[int, NDArray[np.int64]] = {}  # the latest epoch's alone

    def __len__(self) -> int:
        """Return the number of images (or pairs) in an epoch."""
        return self.lengths[0] if self.paired else max(self.lengths)

    def sources(self, domain: str) -> tuple[Source, ...]:
        """Return the files of a domain."""
        return self.index.a if domain == "a" else self.index.b

    def cache_on_disk(self, folder: Path, note: Callable[[str], None]) -> None:
        """Cache every decoded and resized image in a file in `folder`."""
        config = self.config
        images = {
            (domain, number): self.digests[source]
            for domain in "ab"
            for number, source in enumerate(self.sources(domain))
        }
        settings = [
            config.preprocess, config.load_size, config.crop_size, self.index.side_by_side,
            *(repr(self.domains[domain].config) for domain in "ab"),
        ]  # fmt: skip
        threads = max(1, config.workers)
        self._cache = open_disk_cache(folder, images, settings, self._decoded, threads, note)

    def indices(self, epoch: int, position: int) -> tuple[int, int]:
        """Return the index of the source and of the target at a position of an epoch."""
        if not self.training:
            return position % self.lengths[0], position % self.lengths[1]
        source = int(self._order(epoch)[position])
        if self.paired:
            return source, source
        rng = np.random.default_rng((self.seed, ORDER, epoch, position))
        return source % self.lengths[0], int(rng.integers(self.lengths[1]))

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Return a permutation of the source, repeated if the target is larger."""
        order = self._orders.get(epoch)
        if order is None:
            rng = np.random.default_rng((self.seed, ORDER, epoch))
            rounds = -(-len(self) // self.lengths[0])
            order = np.concatenate([rng.permutation(self.lengths[0]) for _ in range(rounds)])
            self._orders = {epoch: order}
        return order

    @cached_property
    def contents(self) -> Contents:
        """Digests of all images, in their order."""
        sides = self.sources("a"), self.sources("b")
        return contents(sides, self.digests, Path(self.config.path))

    def names_hash(self) -> str:
        """Return a hash of all file names, which checkpoints without digests contain."""
        names = [source.name.name for side in "ab" for source in self.sources(side)]
        return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()

    def names(self, epoch: int, position: int) -> list[str]:
        """Return the names of the source and target files at a position, each once."""
        where = zip(self.sides, self.indices(epoch, position), strict=True)
        return list(dict.fromkeys(str(self.sources(side)[index]) for side, index in where))

    def image(self, domain: str, index: int) -> Tensor:
        """Return an image (channels, h, w), decoded and resized; cached if it fits.

        An image with no-data pixels is of floats, with NaN where it has no data.
        """
        key = (domain, index)
        kept = self._cache.get(key)
        if kept is None:
            ahead = self._ahead.pop(key, None)
            try:
                kept = self._decoded(key) if ahead is None else result_within(ahead, LOAD_TIMEOUT)
            except LoadTimeout:
                raise UserError(
                    f"{self.sources(domain)[index]} did not load within {LOAD_TIMEOUT:.0f} s; "
                    "check the disk or network on which it is stored"
                ) from None
            self._cache.put(key, kept)
        return kept

    def prefetch(self, positions: Sequence[Position], pool: Executor) -> None:
        """Start to decode the images at some positions in a pool of threads, unless cached."""
        for position in positions:
            for key in zip(self.sides, self.indices(*position), strict=True):
                if key not in self._ahead and self._cache.get(key) is None:
                    self._ahead[key] = pool.submit(self._decoded, key)

    def cancel_prefetch(self) -> None:
        """Forget images that were started and not requested."""
        self._ahead.clear()

    def _decoded(self, key: Key) -> Tensor:
        domain, index = key
        source, config = self.sources(domain)[index], self.domains[domain].config
        half = half_of(domain) if self.index.side_by_side else None
        most = self.config.max_megapixels * 10**6
        pixels = load(source, config, half, most, self.domains[domain].nodata_value)
        size = resized_size(pixels.shape[0], pixels.shape[1], self.config, source)
        if told := self.domains[domain].other_dtype(pixels.dtype.name):
            self.other_dtypes[f"{domain.upper()}: {told}"] = None
        pixels = to_domain_range(resize_for(pixels, *size, config), self.domains[domain], source)
        return to_tensor(pixels)

    def item(
        self, epoch: int, position: int
    ) -> tuple[Tensor, Tensor, tuple[Augmentation, Augmentation]]:
        """Return source, target (channels, h, w), cropped and flipped, and the draws of each."""
        draws = NO_AUGMENTATION, NO_AUGMENTATION
        if self.training:
            stream = (self.seed, CROP, epoch, position)
            first = draw_augmentation(self.config, (*stream, 0))
            draws = first, first if self.paired else draw_augmentation(self.config, (*stream, 1))
        where = zip(self.sides, self.indices(epoch, position), draws, strict=True)
        source, target = (
            crop_and_flip(self.image(side, i), self.config, one) for side, i, one in where
        )
        return source, target, draws

    def batch(
        self,
        positions: Sequence[Position],
        device: torch.device,
        rooms: tuple[Allocate, Allocate] = FRESH,
        fill: bool = True,
    ) -> tuple[Tensor, Tensor] | None:
        """Return augmented sources and targets at some positions: (n, channels, h, w) in [-1, 1].

        Invalid images are left out; the result is None if no image is left.

        `rooms` give the memory of each. Pixels without data have the domain's `nodata_fill`, or,
        without `fill`, stay NaN. Raises UserError where images differ in size, and where
        more files than `max_invalid` are bad.
        """
        items = [
            item for position in positions if (item := self._item_or_none(position)) is not None
        ]
        if not items:
            return None
        sources, targets, draws = zip(*items, strict=True)
        firsts, seconds = zip(*draws, strict=True)
        here, there = (self.domains[side] for side in self.sides)
        source = self._made(sources, here, firsts, device, rooms[0])
        target = self._made(targets, there, seconds, device, rooms[1])
        missing = [_has_nan(images) for images in (sources, targets)]
        if self.training and self.config.jitter:
            source = color_jitter(source, firsts, self.config.jitter, missing[0])
            if self.config.jitter_on == "both":
                target = color_jitter(target, seconds, self.config.jitter, missing[1])
        if fill and missing[0]:
            source = fill_nodata(source, here)
        if fill and missing[1]:
            target = fill_nodata(target, there)
        return source, target

    def values(self, domain: str, index: int, device: torch.device) -> Tensor:
        """Return an image of a domain (`a`, `b`) without augmentation, (1, channels, h, w) in
        [-1, 1], NaN where it has no data. Raises UserError if it cannot be used."""
        image = crop_and_flip(self.image(domain, index), self.config, NO_AUGMENTATION)
        return stack_values([image], self.domains[domain], device)

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first valid (source, target) of the first epoch."""
        every = (self.batch([(1, position)], torch.device("cpu")) for position in range(len(self)))
        source, target = next(batch for batch in every if batch is not None)
        return source[0], target[0]

    def _made(
        self, images: Sequence[Tensor], domain: Domain, draws: Sequence[Augmentation],
        device: torch.device, room: Allocate,
    ) -> Tensor:  # fmt: skip
        """Return images on the device, warped, as values in [-1, 1]."""
        _check_sizes(images)
        if not (self.training and has_warp(self.config)):
            return stack_values(images, domain, device, room)
        moved = torch.stack(list(images)).to(device, non_blocking=True)
        labels = domain.config.kind == "labels"
        return to_values(warp(moved, draws, self.config, labels, _has_nan(images)), domain)

    def _item_or_none(
        self, position: Position
    ) -> tuple[Tensor, Tensor, tuple[Augmentation, Augmentation]] | None:
        try:
            return self.item(*position)
        except ArchiveChanged:  # no single file is bad
            raise
        except UserError as error:
            self._leave_out(error)
            return None

    def _leave_out(self, error: UserError) -> None:
        """Count an invalid file; no other image takes its place. Too many stop the run."""
        text = str(error)
        if text not in self.bad.files:
            self.bad.files.append(text)
            self.bad.news.append(text)
        total = len(set(self.index.a) | set(self.index.b))
        if self.training and len(self.bad.files) > self.config.max_invalid * total:
            raise error


def _has_nan(images: Sequence[Tensor]) -> bool:
    """Return whether images of `ImageDataset.item` have pixels without data."""
    return any(image.is_floating_point() and bool(image.isnan().any()) for image in images)


def _check_sizes(images: Sequence[Tensor]) -> None:
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        sizes = ", ".join(f"{w}x{h}" for _, h, w in sorted(shapes)[:4])
        raise UserError(
            f"images of different sizes ({sizes}) cannot share a batch; set train.batch_size "
            "to 1, or data.preprocess to resize_and_crop"
        )
