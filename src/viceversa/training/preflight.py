"""What is looked at before a run begins: whether its networks and its files have room."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import NamedTuple

from torch import nn

from ..config.run import RunConfig
from ..data.dataset import ImageDataset
from ..data.readonly import refuse_output_in_data
from ..errors import UserError
from ..files import format_bytes, free_inodes, free_space
from ..methods.base import Method
from ..runtime.distributed import Ranks

HEADER = 2**16  # bytes of a checkpoint that are no weights: settings, random numbers, names
OTHER_FILES = 10  # such as the log, a page, and the first sample grids


def run_folder(config: RunConfig) -> Path:
    """The folder of a run. Raises UserError if there are no data, or it would be inside them."""
    if not config.data.path:
        raise UserError("there is no data folder to train on; name it behind the recipe")
    folder = Path(config.train.run or f"runs/{config.name('method')}")
    refuse_output_in_data(folder, Path(config.data.path), "train.run")
    return folder


def check_ranks(ranks: Ranks, pictures: ImageDataset, batch_size: int) -> None:
    """Raises UserError where there are more processes than images in a batch, or they see other
    images."""
    if ranks.count > batch_size:
        raise UserError(
            f"train.batch_size {batch_size} is smaller than the number of processes, "
            f"{ranks.count}; it is the total batch size of all processes, so at least "
            f"{ranks.count}"
        )
    seen = ranks.all_gather(pictures.contents.fingerprint)
    if other := next((index for index, one in enumerate(seen) if one != seen[0]), None):
        raise UserError(
            f"the images at {pictures.config.path} differ between process {other} and process 0; "
            "each machine needs the same data"
        )


class Disk(NamedTuple):
    """Bytes that a run writes."""

    state: int
    """A checkpoint."""
    models: int
    """The networks, once; a run keeps them as they are, the best, and averaged ones."""
    needed: int
    """All checkpoints that stay, all models, and a checkpoint while it is written."""
    files: int
    """How many files these are."""


def disk_needed(method: Method, config: RunConfig) -> Disk:
    """What a run of this method writes."""
    generators = sum(map(_bytes, method.translators().values())) * bool(config.train.ema)
    models = sum(map(_bytes, chain.from_iterable(method.players().values())))
    # ... with Adam's averages, those of the generators; and a method has pools besides its networks
    adam = 2 * sum(weight.nbytes for weight in method.parameters())
    state = _bytes(method) + adam + generators + HEADER
    sets = 1 + bool(config.validate.every) + bool(config.train.ema)
    states = config.train.keep_last + 1  # the oldest goes when the newest is on the disk
    each = len(method.translators()) + len(method.discriminators())
    return Disk(state, models, state * states + models * sets, states + each * sets + OTHER_FILES)


def _bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()])


class DiskRoom(NamedTuple):
    """Bytes and files that a run in a folder still adds, and for how many there is room."""

    needed: int
    free: int
    files: int
    inodes: int | None
    """None: the disk does not count them."""

    @property
    def enough(self) -> bool:
        """Whether there is room for all of it."""
        inodes = self.files if self.inodes is None else self.inodes
        return self.needed <= self.free and self.files <= inodes


def disk_room(disk: Disk, folder: Path) -> DiskRoom:
    """What a run adds to what its folder holds already; at least one checkpoint, which takes the
    place of another only when it is written."""
    there = [
        path.stat().st_size
        for place in (".", "best", "ema", "checkpoints")
        for path in (folder / place).glob("*.safetensors")
    ]
    return DiskRoom(
        max(disk.state, disk.needed - sum(there)), free_space(folder),
        max(1, disk.files - len(there)), free_inodes(folder),
    )  # fmt: skip


def check_disk(method: Method, folder: Path, config: RunConfig) -> str:
    """What a run will write, in a sentence. Raises UserError where there is no room for it."""
    disk, keep = disk_needed(method, config), config.train.keep_last
    room = disk_room(disk, folder)
    if room.needed > room.free:
        raise UserError(
            f"{folder} has {format_bytes(room.free)} free, and this run needs "
            f"{format_bytes(room.needed)}; make room, or keep fewer checkpoints (train.keep_last)",
            option="train.keep_last", path=folder,
        )  # fmt: skip
    if not room.enough:
        raise UserError(
            f"the disk of {folder} has inodes for {room.inodes} more files, and this run needs "
            f"{room.files}; remove files that are not needed", path=folder,
        )  # fmt: skip
    return (
        f"on disk: {keep} checkpoints of {format_bytes(disk.state)} and models of "
        f"{format_bytes(disk.models)}; {format_bytes(room.free)} are free"
    )
