"""What a run costs, before it: parameters, arithmetic, memory, disk and time. Writes no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ..build import RunConfig
from ..data import SplitIndex
from ..data.dataset import Pictures
from ..data.index import index_splits
from ..data.transforms import crops
from ..errors import UserError
from ..images.domain import Domain
from ..preflight import DiskRoom, disk_room
from ..runtime.device import free_memory
from ..runtime.training import Runtime
from .costs import Costs, count
from .pace import Pace, timed
from .room import Choice, Room, counted

READERS = 90_000_000  # bytes of code that reads images and is loaded when the first one is


class Seen(NamedTuple):
    """What is known of the images."""

    size: tuple[int, int]
    """Height and width that the networks see."""
    images: int = 0
    """In an epoch; 0 where no data is named."""
    decoded: int = 0
    """Bytes of all of them, as they are kept."""
    alone: int = 0
    """Images that belong to no pair."""
    sure: bool = True
    """Whether every image has that size."""
    splits: Mapping[str, SplitIndex] = MappingProxyType({})
    """The images of each split."""


@dataclass(frozen=True)
class Plan:
    """Everything that was counted and measured; bytes, multiply-accumulates and seconds."""

    config: RunConfig
    device: str
    seen: Seen
    costs: Costs
    kept: int
    """Bytes of images that are kept in the machine's memory, and of what reads them."""
    free: int | None
    """Bytes of memory; None where the system does not say."""
    batch: Choice | None
    """The largest that fits."""
    crop: Choice | None
    instead: list[Choice]
    """What would need less, where the run does not fit."""
    disk: int
    """Bytes that the run writes, with what is there of them."""
    disk_room: DiskRoom
    plain_macs: int
    """Of a step without the identity loss; 0 where there is none."""
    pace: Pace | None

    @property
    def needed(self) -> int:
        """Bytes of memory."""
        return self.costs.run + self.kept

    @property
    def fits(self) -> bool:
        """Whether the memory that is free is enough, as far as one knows."""
        return self.free is None or self.needed <= self.free


def make_plan(config: RunConfig, steps: int, note: Callable[[str], None]) -> Plan:
    """Count what a run costs, and time a few steps where they fit; `note` is told what is done.

    Raises UserError for data that is not there, a size that the networks can't train on, and a
    device that can't be used.
    """
    if steps < 0:
        raise UserError(f"--steps is how many steps to time, at least 0, not {steps}")
    train = config.train
    speed, precision = config.speed, train.precision
    device = Runtime(train.device, precision, train.deterministic, speed).device
    free = free_memory(device)
    seen = look(config)
    note("counting ...")
    costs = count(config, seen.size, device, seen.images)
    identity = config.sections["method"].get("lambda_identity", 0) > 0
    without = {"lambda_identity": 0.0}
    plain = counted(config, seen.size, device, method=without).step_macs if identity else 0
    room = config.data.cache_megabytes * 2**20 if config.data.cache == "memory" else 0
    kept = READERS + min(seen.decoded, room) if device.type == "cpu" else 0
    batch = crop = None
    instead: list[Choice] = []
    if free is not None:
        others = Room(config, seen.size, device, free, kept, seen.images)
        batch, crop = others.batch(), others.crop()
        instead = others.instead(crop, batch) if costs.run + kept > free else []
    pace = None
    if steps and (free is None or costs.run + kept <= free):
        note(f"timing {steps} step{'s' * (steps > 1)} on {device} ...")
        pace = timed(config, seen.size, steps, note)
    file = seen.decoded if config.data.cache == "disk" else 0
    disk = costs.disk._replace(needed=costs.disk.needed + file)
    return Plan(
        config, str(device), seen, costs, kept, free, batch, crop, instead, disk.needed,
        disk_room(disk, Path(train.run or ".")), plain, pace,
    )  # fmt: skip


def look(config: RunConfig) -> Seen:
    """How many images there are, by names alone, and the size of the first that is good.

    Without data: squares, of the side that the settings name.
    """
    data = config.data
    fixed = crops(data) or data.preprocess == "resize"
    if not data.path:
        side = data.crop_size if fixed or data.preprocess == "none" else data.load_size
        return Seen((side, side), sure=fixed)
    splits = index_splits(data.path, config.paired, data)
    found = splits["train"]  # it is there, or the data is refused
    domains = Domain(data.a), Domain(data.b)
    pictures = Pictures(found, data, domains, config.paired, config.train.seed, training=True)
    for position in range(len(pictures)):
        try:
            source, _, _ = pictures.item(1, position)
            break
        except UserError:
            if data.on_bad == "refuse" or position == len(pictures) - 1:
                raise
    chosen = pictures.indices(1, position)
    decoded = sum(
        length * pictures.picture(side, index).nbytes
        for side, index, length in zip(pictures.sides, chosen, pictures.lengths, strict=True)
    )
    height, width = source.shape[1:]
    return Seen((height, width), len(pictures), decoded, len(found.unmatched), fixed, splits)
