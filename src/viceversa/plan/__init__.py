"""Estimate what a training run costs before it starts: arithmetic, memory, disk and time.

Steps are timed only if they fit into the memory. No file is written.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..config.run import RunConfig, make_method
from ..data import SplitIndex
from ..data.dataset import ImageDataset
from ..data.index import index_splits
from ..data.transforms import has_crop
from ..errors import UserError
from ..images.domain import Domain
from ..runtime.device import free_memory
from ..runtime.training import Runtime
from ..training.preflight import disk_room
from .costs import estimate, time_steps

IMAGE_LIBRARIES = 90_000_000  # bytes of code that is loaded with the first image
BATCHES = [2**power for power in range(10)]
LARGEST_SIDE = 8192
Choice = dict[str, Any]


@dataclass(frozen=True)
class ImageStats:
    """The images of a run. Without data, `count` is 0."""

    size: tuple[int, int]
    """Height and width of the networks' input."""
    count: int = 0
    """Images (or pairs) per epoch."""
    decoded: int = 0
    """Bytes of all images after decoding."""
    unpaired: int = 0
    one_size: bool = True
    """Whether all images have the same size."""
    splits: Mapping[str, SplitIndex] = field(default_factory=dict)


def make_plan(config: RunConfig, steps: int, note: Callable[[str], None]) -> dict[str, Any]:
    """Estimate the costs of a run and, if it fits into the memory, time a few steps.

    Args:
        config: The settings of the run.
        steps: How many steps to time; 0 for none.
        note: Gets a message at the start of each stage.

    Returns:
        Plain values: bytes, multiply-accumulates and seconds; None for what is not known.

    Raises:
        UserError: The data is missing, the networks cannot train on its size, or the device is not
            available.
    """
    if steps < 0:
        raise UserError(f"--steps must be at least 0, not {steps}", option="--steps")
    train, data = config.train, config.data
    device = Runtime(train.device, train.precision, train.deterministic, config.speed).device
    free, images = free_memory(device), inspect_images(config)
    note("estimating ...")
    costs = estimate(config, images.size, device, images.count)
    limit = data.cache_megabytes * 2**20 if data.cache == "memory" else 0
    cached = IMAGE_LIBRARIES + min(images.decoded, limit) if device.type == "cpu" else 0
    memory: dict[str, Any] = {
        **costs.parts,
        "margin": costs.margin,
        "ema": costs.averaged,
        "copies": costs.copies,
        "images": cached,
        "steps": costs.steps,
        "needed": costs.run + cached,
        "free": free,
        "fits": free is None or costs.run + cached <= free,
        "measured": None,
    }
    batch = crop = time = None
    instead: list[Choice] = []
    if free is not None:
        batch, crop, instead = choices(config, images, device, free, cached, memory["fits"])
    if steps and memory["fits"]:
        note(f"timing {steps} step{'s' * (steps > 1)} on {device} ...")
        seconds, memory["measured"] = time_steps(config, images.size, steps, note)
        time = step_times(seconds, config, images.count, costs.step_macs)
    cached_on_disk = images.decoded if data.cache == "disk" else 0
    disk = costs.disk._replace(needed=costs.disk.needed + cached_on_disk)
    room = disk_room(disk, Path(train.run or "."))
    height, width = images.size
    plan = {
        "device": str(device),
        "height": height,
        "width": width,
        "batch_size": train.batch_size,
        "accumulation_steps": train.accumulation_steps,
        "precision": train.precision,
        "images": images.count or None,
        "epochs": train.epochs,
        "splits": {
            name: {"a": len(split.a), "b": len(split.b), "layout": split.layout}
            for name, split in images.splits.items()
        },
        "parameters": costs.parameters | {"all": sum(costs.parameters.values())},
        "macs": {"step": costs.step_macs, "translation": costs.translation_macs},
        "memory": memory,
        "largest": {"batch": batch, "crop": crop},
        "instead": instead,
        "disk": {
            "checkpoint": disk.state,
            "models": disk.models,
            "images": cached_on_disk,
            "needed": disk.needed,
            "free": room.free,
        },
        "time": time,
        "settings": config.sections,
    }
    return plan | {"advice": _advice(plan, images, room.enough)}


def step_times(
    seconds: list[float], config: RunConfig, images: int, step_macs: int
) -> dict[str, Any]:
    """Return the median step and the times of a run from the seconds of each timed step."""
    train, step = config.train, statistics.median(seconds)
    rate = train.batch_size * train.accumulation_steps / step
    return {
        "step": step,
        "every": seconds,
        "images_per_s": rate,
        "macs_per_s": step_macs / step,
        "thousand_images": 1000 / rate,
        "epoch": images / rate if images else None,
        "all": images * train.epochs / rate if images else None,
    }


def _advice(plan: dict[str, Any], images: ImageStats, disk_enough: bool) -> list[str]:
    """Return at most four sentences on what the numbers mean."""
    memory, lines = plan["memory"], []
    if memory["free"] is None:
        lines.append(f"The free memory of {plan['device']} is not known.")
    elif memory["fits"]:
        fraction = memory["needed"] / memory["free"]
        lines.append(f"The run fits: it needs {fraction:.0%} of the free memory.")
    if not disk_enough:
        lines.append(
            "The disk is too full: free space, or keep fewer checkpoints (--train.keep_last)."
        )
    if (memory["measured"] or 0) > 1.25 * memory["steps"]:
        lines.append("The timed steps needed more memory than predicted; rely on the measurement.")
    if not images.count:
        lines.append("Name the data after the recipe to get the time of all epochs.")
    elif images.unpaired:
        lines.append(f"{images.unpaired} images are unpaired; viceversa check lists them.")
    if not images.one_size:
        lines.append("With these settings images keep their own sizes; this is for one of them.")
    if plan["time"]:
        lines.append("The time is that of steps only, without loading, samples and checkpoints.")
    return lines[:4]


def inspect_images(config: RunConfig) -> ImageStats:
    """Count the images of a run by their names and read the size of the first valid one.

    Without data, the size is that of the settings.
    """
    data = config.data
    one_size = has_crop(data) or data.preprocess == "resize"
    if not data.path:
        side = data.crop_size if one_size or data.preprocess == "none" else data.load_size
        return ImageStats((side, side), one_size=one_size)
    splits = index_splits(data.path, config.paired, data)
    found = splits["train"]  # index_splits raises without it
    domains = Domain(data.a), Domain(data.b)
    pictures = ImageDataset(found, data, domains, config.paired, config.train.seed, training=True)
    for position in range(len(pictures)):
        try:
            source, _, _ = pictures.item(1, position)
            break
        except UserError:
            if data.on_invalid == "refuse" or position == len(pictures) - 1:
                raise
    chosen = pictures.indices(1, position)
    decoded = sum(
        length * pictures.image(side, index).nbytes
        for side, index, length in zip(pictures.direction, chosen, pictures.lengths, strict=True)
    )
    size = source.shape[1], source.shape[2]
    return ImageStats(size, len(pictures), decoded, len(found.unmatched), one_size, splits)


def choices(
    config: RunConfig,
    images: ImageStats,
    device: torch.device,
    free: int,
    cached: int,
    fits: bool,
) -> tuple[Choice | None, Choice | None, list[Choice]]:
    """Find other settings and the memory that they need.

    Args:
        config: The settings of the run.
        images: Its images.
        device: The device of the run.
        free: Free memory.
        cached: Memory that all settings need in addition to that of the networks.
        fits: Whether the run fits as it is.

    Returns:
        The largest batch and the largest square crop that fit, if any; if the run does not fit,
        settings that need less memory, those that fit first.
    """
    train, speed = config.train, config.speed

    def needed(size: tuple[int, int] = images.size, **sections: dict[str, Any]) -> int:
        """Memory with other settings; 0 if the networks refuse the size, as they do small ones."""
        own: dict[str, Any] = {"train": train, "speed": speed}
        changed: dict[str, Any] = {
            name: replace(own[name], **values) for name, values in sections.items()
        }
        try:
            return estimate(replace(config, **changed), size, device).run + cached
        except UserError:
            return 0

    def choice(options: str, memory: int) -> Choice:
        return {"options": options, "needed": memory, "fits": memory <= free}

    batches = [batch for batch in BATCHES if batch <= (images.count or BATCHES[-1])]
    batch = largest(batches, lambda size: needed(train={"batch_size": size}), int, free)
    with torch.device("meta"):
        networks: list[Any] = list(make_method(config).translators().values())
    multiple = max(32, *(int(network.multiple) for network in networks))
    sides = range(multiple, max(LARGEST_SIDE, multiple) + 1, multiple)
    crop = largest(sides, lambda side: needed((side, side)), lambda side: side**2, free)
    instead: list[Choice] = []
    if fits:
        return batch, crop, instead
    if crop:
        instead.append(choice(f"--data.crop_size {crop['value']}", crop["needed"]))
    if batch and batch["value"] < train.batch_size:
        size = batch["value"]
        every = -(-train.batch_size // size) * train.accumulation_steps
        memory = needed(train={"batch_size": size, "accumulation_steps": every})
        instead.append(
            choice(f"--train.batch_size {size} --train.accumulation_steps {every}", memory)
        )
    if speed.activation_checkpointing == "off" and not speed.compile:
        instead.append(
            choice(
                "--speed.activation_checkpointing blocks",
                needed(speed={"activation_checkpointing": "blocks"}),
            )
        )
    if train.precision in ("fp32", "tf32"):
        instead.append(choice("--train.precision bf16", needed(train={"precision": "bf16"})))
    return batch, crop, sorted(instead, key=lambda one: not one["fits"])


def largest(
    sizes: Sequence[int], needed: Callable[[int], int], amount: Callable[[int], int], free: int
) -> Choice | None:
    """Return the last of rising sizes that fits into the free memory, and what it needs.

    `needed` is slow and nearly linear in `amount`, so that interpolation calls it for few sizes.
    """
    low, high = 0, len(sizes)  # sizes[:low] fit, sizes[high:] do not
    known: list[tuple[int, int]] = []  # amounts and memory, without sizes that are refused
    index, found = 0, None
    while low < high:
        size = sizes[index]
        memory = needed(size)
        if memory:
            known.append((amount(size), memory))
        if memory <= free:
            low, found = index + 1, {"value": size, "needed": memory}
        else:
            high = index
        limit = 4.0 * amount(size)
        if len(known) > 1 and known[-2][1] != known[-1][1]:
            (x, first), (y, second) = known[-2:]
            limit = x + (free - first) * (y - x) / (second - first)
        index = min(max(bisect_right(sizes, limit, key=amount) - 1, low), high - 1)
    return found if found and found["needed"] else None
