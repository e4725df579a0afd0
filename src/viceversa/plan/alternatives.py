"""Find the largest batch and crop that fit into the memory, and settings that need less."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from ..config.run import RunConfig, make_method
from ..errors import UserError
from ..fields import ImageSize, as_typed, height_width
from .costs import estimate
from .images import ImageStats

BATCHES = [2**power for power in range(10)]
LARGEST_SIDE = 8192
Choice = dict[str, Any]


def choices(
    config: RunConfig,
    images: ImageStats,
    device: torch.device,
    free: int,
    cached: int,
    own: int,
) -> tuple[Choice | None, Choice | None, list[Choice]]:
    """Find other settings and the memory that they need.

    Args:
        config: The settings of the run.
        images: Its images.
        device: The device of the run.
        free: Free memory.
        cached: Memory of cached images and libraries, which every setting needs in addition.
        own: Memory that the run needs with its settings.

    Returns:
        The largest batch and the largest crop that fit, or None: the crop is a square, or has the
        aspect ratio of the run's crop. If the run does not fit, also settings that need less
        memory; settings that fit come first.
    """
    train, speed = config.train, config.speed

    def needed(size: tuple[int, int] = images.size, **sections: dict[str, Any]) -> int:
        """Memory with other settings; 0 if the networks refuse the size, as they do small ones."""
        before: dict[str, Any] = {"train": train, "speed": speed}
        changed: dict[str, Any] = {
            name: replace(before[name], **values) for name, values in sections.items()
        }
        other = replace(config, **changed)
        if other == config and size == images.size:
            return own
        try:
            return estimate(other, size, device).run + cached
        except UserError:
            return 0

    batches = [batch for batch in BATCHES if batch <= (images.count or BATCHES[-1])]
    batch = largest(
        batches, lambda size: needed(train={"batch_size": size}), int, free, train.batch_size
    )
    with torch.device("meta"):
        networks: list[Any] = list(make_method(config).translators().values())
    multiple = max(32, *(int(network.multiple) for network in networks))
    sides = range(multiple, max(LARGEST_SIDE, multiple) + 1, multiple)

    def crop_of(height: int) -> ImageSize:
        """Return the crop of this height with the proportions of the run's."""
        if isinstance(config.data.crop_size, int):
            return height
        of_run, width = config.data.crop_size
        return height, max(1, round(height * width / of_run / multiple)) * multiple

    crop = largest(
        sides,
        lambda side: needed(height_width(crop_of(side))),
        lambda side: math.prod(height_width(crop_of(side))),
        free,
        images.size[0],
    )
    crop = crop and {**crop, "value": crop_of(crop["value"])}
    cheaper = [] if own <= free else _cheaper(config, batch, crop, needed)
    alternatives = [
        {"options": options, "needed": memory, "fits": memory <= free}
        for options, memory in cheaper
    ]
    return batch, crop, sorted(alternatives, key=lambda one: not one["fits"])


def _cheaper(
    config: RunConfig, batch: Choice | None, crop: Choice | None, needed: Callable[..., int]
) -> Iterator[tuple[str, int]]:
    """Yield options that need less memory, and the memory that they need."""
    train, speed = config.train, config.speed
    if crop:
        yield f"--data.crop_size {as_typed(crop['value'])}", crop["needed"]
    if batch and batch["value"] < train.batch_size:
        size = batch["value"]
        steps = -(-train.batch_size // size) * train.accumulation_steps
        memory = needed(train={"batch_size": size, "accumulation_steps": steps})
        yield f"--train.batch_size {size} --train.accumulation_steps {steps}", memory
    if speed.activation_checkpointing == "off" and not speed.compile:
        blocks = {"activation_checkpointing": "blocks"}
        yield "--speed.activation_checkpointing blocks", needed(speed=blocks)
    if train.precision in ("fp32", "tf32"):
        yield "--train.precision bf16", needed(train={"precision": "bf16"})


def largest(
    sizes: Sequence[int],
    needed: Callable[[int], int],
    amount: Callable[[int], int],
    free: int,
    start: int,
) -> Choice | None:
    """Return the last of rising sizes that fits into the free memory, and what it needs.

    `needed` is slow and nearly linear in `amount`, so that interpolation from the size `start`
    calls it for few sizes.
    """
    low, high = 0, len(sizes)  # sizes[:low] fit, sizes[high:] do not
    known: list[tuple[int, int]] = []  # amounts and memory, without sizes that are refused
    index, found = max(bisect_right(sizes, start) - 1, 0), None
    while low < high:
        size = sizes[index]
        memory = needed(size)
        if memory:
            known.append((amount(size), memory))
        if memory <= free:
            low, found = index + 1, {"value": size, "needed": memory}
        else:
            high = index
        limit = amount(size) * (4.0 if memory <= free else free / memory)
        if len(known) > 1 and known[-2][1] != known[-1][1]:
            (x, first), (y, second) = known[-2:]
            limit = x + (free - first) * (y - x) / (second - first)
        index = min(max(bisect_right(sizes, limit, key=amount) - 1, low), high - 1)
    return found if found and found["needed"] else None
