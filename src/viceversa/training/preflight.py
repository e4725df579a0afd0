"""Checks before a run starts: its folder, its processes, and the disk space it needs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from ..config.run import RunConfig
from ..config.run_folder import FROM_PYTHON, needs_dataset
from ..data.open_user import UserData
from ..data.readonly import refuse_output_in_data
from ..data.user import SplitDataset
from ..errors import UserError
from ..files import format_bytes, free_inodes, free_space
from ..methods.base import Method
from ..runtime.distributed import Ranks

HEADER = 2**16  # bytes of a checkpoint besides tensors: settings, random numbers, names
OTHER_FILES = 10  # such as the log, the page, and the first sample grids
MODEL_FOLDERS = ".", "best", "ema", "checkpoints"


def run_folder(config: RunConfig, user: UserData | None = None) -> Path:
    """Return the folder of a run. Raises UserError without data, or if it is inside the data."""
    folder = Path(config.train.run or f"runs/{config.name('method')}")
    if user is not None:
        return folder
    if config.data.path == FROM_PYTHON:
        raise needs_dataset(folder)
    if not config.data.path:
        raise UserError(
            "there is no data folder to train on; add it after the recipe (in Python: data=)",
            option="data.path",
        )
    refuse_output_in_data(folder, Path(config.data.path), "train.run")
    return folder


def check_ranks(ranks: Ranks, dataset: SplitDataset, batch_size: int) -> None:
    """Check that every process has a part of each batch, and that all have the same data.

    Raises:
        UserError: There are more processes than images in a batch, or a process has other images.
    """
    if ranks.count > batch_size:
        raise UserError(
            f"train.batch_size {batch_size} is smaller than the number of processes, "
            f"{ranks.count}; it is the total batch size of all processes, so at least "
            f"{ranks.count}",
            option="train.batch_size",
        )
    prints = ranks.all_gather(dataset.contents.fingerprint)
    if other := next((index for index, one in enumerate(prints) if one != prints[0]), None):
        raise UserError(
            f"the data differ between process {other} and process 0; "
            "each machine needs the same data",
            option="data.path",
        )


class Disk(NamedTuple):
    """Sizes of the files of a run, in bytes."""

    state: int
    """One checkpoint."""
    models: int
    """The model files, once; a run also has those of the best validation and of the EMA."""
    needed: int
    """All checkpoints that are kept, all models, and a checkpoint while it is written."""
    files: int
    """Number of these files."""


def disk_needed(method: Method, config: RunConfig) -> Disk:
    """Return the sizes of the files that a run writes."""
    ema = sum(map(_bytes, method.translators().values())) * bool(config.train.ema)
    discriminators = (one.network for one in method.discriminators().values())
    models = sum(map(_bytes, [*method.translators().values(), *discriminators]))
    adam = 2 * sum(weight.nbytes for weight in method.parameters())
    state = _bytes(method) + adam + ema + HEADER  # a method has image pools besides its networks
    sets = 1 + bool(config.validate.every) + bool(config.train.ema)
    states = config.train.keep_last + 1  # the oldest is removed after the newest is written
    each = len(method.translators()) + len(method.discriminators())
    return Disk(state, models, state * states + models * sets, states + each * sets + OTHER_FILES)


def _bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()])


class DiskSpace(NamedTuple):
    """Bytes and files that a run still adds to its folder, and how many are free."""

    needed: int
    free: int
    files: int
    inodes: int | None
    """None: the file system does not count them."""

    @property
    def enough(self) -> bool:
        """Whether all of it fits."""
        inodes = self.files if self.inodes is None else self.inodes
        return self.needed <= self.free and self.files <= inodes


def disk_space(disk: Disk, folder: Path) -> DiskSpace:
    """Return what a run adds to the files that its folder already has; at least one checkpoint."""
    existing = [
        path.stat().st_size
        for place in MODEL_FOLDERS
        for path in (folder / place).glob("*.safetensors")
    ]
    needed = max(disk.state, disk.needed - sum(existing))
    files = max(1, disk.files - len(existing))
    return DiskSpace(needed, free_space(folder), files, free_inodes(folder))


def check_disk(method: Method, folder: Path, config: RunConfig) -> str:
    """Return a sentence on what a run writes. Raises UserError if the disk is too full for it."""
    disk, keep = disk_needed(method, config), config.train.keep_last
    room = disk_space(disk, folder)
    if room.needed > room.free:
        raise UserError(
            f"{folder} has {format_bytes(room.free)} free, and this run needs "
            f"{format_bytes(room.needed)}; free some space, or keep fewer "
            "checkpoints (train.keep_last)",
            option="train.keep_last",
            path=folder,
        )
    if not room.enough:
        raise UserError(
            f"the disk of {folder} has inodes for {room.inodes} more files, and this run needs "
            f"{room.files}; remove files that are not needed",
            path=folder,
        )
    return (
        f"on disk: {keep} checkpoints of {format_bytes(disk.state)} and models of "
        f"{format_bytes(disk.models)}; {format_bytes(room.free)} are free"
    )
