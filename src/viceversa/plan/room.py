"""What fits into the memory there is: the largest batch, the largest crop, and other ways out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from ..build import RunConfig, make_method
from ..errors import UserError
from .costs import Costs, count

BATCHES = [2**power for power in range(10)]
LARGEST_SIDE = 8192


class Choice(NamedTuple):
    """Other settings, and the bytes of memory that a run needs with them."""

    value: int
    needed: int
    words: str
    """As options of the command line."""


class Room:
    """What a run with other settings would need, on a device with so much `free`."""

    def __init__(
        self, config: RunConfig, size: tuple[int, int], device: torch.device, free: int,
        besides: int = 0, images: int = 0,
    ):  # fmt: skip
        """`besides`: bytes that every choice needs on top, such as for images kept in memory.

        `images`: in an epoch, where that is known: no batch holds more.
        """
        self.batches = [batch for batch in BATCHES if batch <= (images or BATCHES[-1])]
        self.config, self.size, self.device = config, size, device
        self.free, self.besides = free, besides

    def batch(self) -> Choice | None:
        """The largest batch of 1, 2, 4, ... that fits; None where not even one image does."""
        found = largest(self.batches, self._batch, lambda images: images, self.free)
        return found and Choice(*found, f"--train.batch_size {found[0]}")

    def crop(self) -> Choice | None:
        """The largest square crop that fits; None where none does."""
        step = max(32, *(int(network.multiple) for network in _generators(self.config)))
        sides = range(step, max(LARGEST_SIDE, step) + 1, step)
        found = largest(sides, self._crop, lambda side: side**2, self.free)
        return found and Choice(*found, f"--data.crop_size {found[0]}")

    def instead(self, crop: Choice | None, batch: Choice | None) -> list[Choice]:
        """Settings that need less, of which each alone may do; those that fit come first."""
        train, speed = self.config.train, self.config.speed
        choices = [crop] if crop else []
        if batch and batch.value < train.batch_size:
            each = -(-train.batch_size // batch.value) * train.accumulate
            needed = self._needed(train={"batch_size": batch.value, "accumulate": each})
            choices.append(Choice(batch.value, needed, f"{batch.words} --train.accumulate {each}"))
        if speed.recompute == "nothing" and not speed.compile:
            needed = self._needed(speed={"recompute": "blocks"})
            choices.append(Choice(0, needed, "--speed.recompute blocks"))
        if train.precision in ("fp32", "tf32"):
            needed = self._needed(train={"precision": "bf16"})
            choices.append(Choice(0, needed, "--train.precision bf16"))
        return sorted(choices, key=lambda choice: choice.needed > self.free)

    def _batch(self, images: int) -> int:
        return self._needed(train={"batch_size": images})

    def _crop(self, side: int) -> int:
        return self._needed(size=(side, side))

    def _needed(
        self, size: tuple[int, int] | None = None, **sections: dict[str, Any]
    ) -> int:  # fmt: skip
        """Bytes with other settings; 0 where the networks refuse the size: they do small ones."""
        try:
            return (
                counted(self.config, size or self.size, self.device, **sections).run + self.besides
            )
        except UserError:
            return 0


def counted(
    config: RunConfig, size: tuple[int, int], device: torch.device, **sections: dict[str, Any]
) -> Costs:
    """The costs with some settings of method, train or speed changed."""
    own = {"method": config.method, "train": config.train, "speed": config.speed}
    changed = {name: replace(own[name], **values) for name, values in sections.items()}
    return count(replace(config, **changed), size, device)


def largest(
    sizes: Sequence[int], needed: Callable[[int], int], amount: Callable[[int], int], free: int
) -> tuple[int, int] | None:
    """The last of rising sizes that needs no more than is free, and what it needs; None for none.

    `needed` rises nearly in proportion to `amount`: so it is asked for few of the sizes.
    """
    low, high = 0, len(sizes)  # all before low fit, all from high on don't
    known: dict[int, int] = {}  # amount -> bytes
    place, fits = 0, None
    while low < high:
        size = sizes[place]
        known[amount(size)] = needs = needed(size)
        if needs <= free:
            low, fits = place + 1, (size, needs)
        else:
            high = place
        place = min(max(bisect_right(sizes, _reach(known, free), key=amount) - 1, low), high - 1)
    return fits if fits and fits[1] else None


def _reach(known: dict[int, int], free: int) -> float:
    """The amount that would use up what is free, on the line through the last two that are known;
    without two, well beyond what is known."""
    points = [point for point in known.items() if point[1]][-2:]
    if len(points) < 2 or points[0][1] == points[1][1]:
        return 4.0 * max(known)
    (x, low), (y, high) = points
    return x + (free - low) * (y - x) / (high - low)


def _generators(config: RunConfig) -> list[Any]:
    with torch.device("meta"):
        return list(make_method(config).translators().values())
