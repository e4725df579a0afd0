"""Images of two domains, by (epoch, position): the same whoever asks, and in whatever order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..errors import UserError
from ..images import Pixels, read, resize, to_tensor
from .config import DataConfig
from .layouts import Found
from .transforms import CENTRE, apply, draw, fitted

Place = tuple[int, int]  # epoch, position within it
ORDER, CROP = 0, 1  # what a random number is for: keeps the streams apart


class Pictures(Dataset[tuple[Pixels, Pixels]]):
    """One split of a data set; what it gives depends on (seed, epoch, position) alone.

    An item is (source, target), each (height, width, channels) uint8: the one place where
    `direction` is applied. Paired: one crop and flip for both. Unpaired: an epoch is as long as the
    larger domain; the source goes through in a random order, the target is drawn at random
    (CycleGAN's own loader), and each has its own crop and flip.
    """

    def __init__(self, found: Found, config: DataConfig, paired: bool, seed: int, training: bool):
        self.found, self.config, self.paired = found, config, paired
        self.seed, self.training = seed, training
        self.lengths = len(found.a), len(found.b)
        if config.direction == "ba":
            self.lengths = self.lengths[::-1]
        self._kept: dict[tuple[str, int], Pixels] = {}
        self._orders: dict[int, NDArray[np.int64]] = {}  # the latest epoch's alone
        self._room = config.cache * 2**20

    def __len__(self) -> int:
        """Images (or pairs) in an epoch."""
        return self.lengths[0] if self.paired else max(self.lengths)

    def __getitem__(self, place: Place) -> tuple[Pixels, Pixels]:
        epoch, position = place
        source, target = self.indices(epoch, position)
        stream = (self.seed, CROP, epoch, position)
        first = second = CENTRE
        if self.training:
            first = draw(self.config, (*stream, 0))
            second = first if self.paired else draw(self.config, (*stream, 1))
        from_a = self.config.direction == "ab"
        one = self.picture("a" if from_a else "b", source)
        two = self.picture("b" if from_a else "a", target)
        return apply(one, self.config, first), apply(two, self.config, second)

    def indices(self, epoch: int, position: int) -> tuple[int, int]:
        """Which source and which target stand at a position of an epoch."""
        if not self.training:
            return position % self.lengths[0], position % self.lengths[1]
        source = int(self._order(epoch)[position])
        if self.paired:
            return source, source
        rng = np.random.default_rng((self.seed, ORDER, epoch, position))
        return source % self.lengths[0], int(rng.integers(self.lengths[1]))

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """A permutation of the source; where the target is larger, it goes round again."""
        if epoch not in self._orders:
            rng = np.random.default_rng((self.seed, ORDER, epoch))
            rounds = -(-len(self) // self.lengths[0])
            order = np.concatenate([rng.permutation(self.lengths[0]) for _ in range(rounds)])
            self._orders = {epoch: order}
        return self._orders[epoch]

    def path(self, domain: str, index: int) -> Path:
        """The file an image comes from."""
        return (self.found.a if domain == "a" else self.found.b)[index]

    def picture(self, domain: str, index: int) -> Pixels:
        """A decoded and resized image; kept in memory while there is room."""
        kept = self._kept.get((domain, index))
        if kept is not None:
            return kept
        path = self.path(domain, index)
        channels = self.config.channels[0 if domain == "a" else 1]
        pixels = read(path, channels)
        if self.found.side_by_side:
            half = pixels.shape[1] // 2
            pixels = pixels[:, :half] if domain == "a" else pixels[:, half:]
        pixels = np.ascontiguousarray(
            resize(pixels, *fitted(pixels.shape[0], pixels.shape[1], self.config, path))
        )
        if pixels.nbytes <= self._room:
            self._room -= pixels.nbytes
            self._kept[domain, index] = pixels
        return pixels

    def batch(self, places: list[Place]) -> tuple[Tensor, Tensor]:
        """(sources, targets), each (n, channels, height, width) in [-1, 1]."""
        return collate([self[place] for place in places])


def collate(items: list[tuple[Pixels, Pixels]]) -> tuple[Tensor, Tensor]:
    """Stack images of one size. Raises UserError where sizes differ."""
    for side in zip(*items, strict=True):
        shapes = {pixels.shape for pixels in side}
        if len(shapes) > 1:
            sizes = ", ".join(f"{w}x{h}" for h, w, _ in sorted(shapes)[:4])
            raise UserError(
                f"images of different sizes ({sizes}) cannot share a batch; set train.batch_size "
                "to 1, or data.preprocess to resize_and_crop"
            )
    sources, targets = zip(*items, strict=True)
    return to_tensor(np.stack(sources)), to_tensor(np.stack(targets))


def batches(
    pictures: Pictures, size: int, epoch: int, start: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch from the `start`-th on; the last one may be smaller."""
    places = [(epoch, position) for position in range(len(pictures))]
    groups = [places[i : i + size] for i in range(0, len(places), size)][start:]
    if not pictures.config.workers:
        yield from map(pictures.batch, groups)
        return
    yield from DataLoader(
        pictures,
        batch_sampler=groups,
        collate_fn=collate,
        num_workers=pictures.config.workers,
        multiprocessing_context="spawn",
        generator=torch.Generator(),  # so that starting workers draws nothing from training's own
        timeout=120,
    )
