"""The state of training, and the folder that keeps the last few of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from ..errors import UserError
from . import container

TENSOR = "tensor:"  # what stands for a tensor in the header, before its name
State = dict[str, Any]


class Checkpoints:
    """The checkpoints of a run, named by the images seen; the newest good one counts."""

    def __init__(self, folder: Path, keep: int):
        """`keep`: how many stay. Older ones go when a newer one is on the disk for good."""
        self.folder, self.keep = folder, keep

    def save(self, state: State, images: int) -> Path:
        """Write a state, then drop what is too old. Raises UserError where it can't be written."""
        path = self.folder / f"{images:010d}.safetensors"
        save_state(path, state)
        files = self.files()
        place = files.index(path)
        # One of a later number was not whole, or the run would have gone on from it.
        for old in files[:place] + files[place + self.keep :]:
            with suppress(OSError):  # the new one is safe, and the next save tries again
                old.unlink(missing_ok=True)
        return path

    def latest(self, note: Callable[[str], None]) -> tuple[State, Path] | None:
        """The newest state that is whole, and its file; `note` is told of those that are not.

        Raises UserError where there are files and none is whole.
        """
        files = self.files()
        for path in files:
            try:
                return load_state(path), path
            except UserError as error:
                note(f"{error}; going back to the one before")
        if files:
            raise UserError(
                f"no checkpoint in {self.folder} is whole; remove them to start anew, or choose "
                "another train.run"
            )
        return None

    def files(self) -> list[Path]:
        """The checkpoints there are, newest first."""
        found = [path for path in self.folder.glob("*.safetensors") if path.stem.isdecimal()]
        return sorted(found, reverse=True)

    def clean(self) -> None:
        """Remove what an interrupted save left behind."""
        for path in self.folder.glob("*.tmp"):
            with suppress(OSError):  # the next save of that number writes over it
                path.unlink(missing_ok=True)


def save_state(path: Path, state: State) -> None:
    """Write nested tables and lists of tensors and plain values. Keys are text."""
    plain, tensors = taken_apart(state)
    container.save(path, tensors, {"kind": "state", "state": plain})


def load_state(path: Path) -> State:
    """What `save_state` wrote. Raises UserError where it is not whole, or is no state."""
    tensors, header = container.load(path)
    if header.get("kind") != "state" or not isinstance(header.get("state"), dict):
        raise UserError(f"{path} is not a checkpoint of viceversa")
    try:
        state: State = put_together(header["state"], tensors)
    except KeyError as error:
        raise UserError(f"{path} is damaged: it has no tensor {error}") from None
    return state


def taken_apart(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Nested tables and lists as plain values, and the tensors that were in them by name."""
    tensors: dict[str, Tensor] = {}
    return _apart(state, "", tensors), tensors


def _apart(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The same with names for its tensors, which go into `tensors`."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach()
        return TENSOR + name
    if isinstance(value, dict):
        return {key: _apart(inner, f"{name}/{key}", tensors) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_apart(inner, f"{name}/{i}", tensors) for i, inner in enumerate(value)]
    assert not (isinstance(value, str) and value.startswith(TENSOR)), value
    return value


def put_together(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What `taken_apart` was given. Raises KeyError for a tensor that is not there."""
    if isinstance(value, str) and value.startswith(TENSOR):
        return tensors[value.removeprefix(TENSOR)]
    if isinstance(value, dict):
        return {key: put_together(inner, tensors) for key, inner in value.items()}
    if isinstance(value, list):
        return [put_together(inner, tensors) for inner in value]
    return value


def claim(folder: Path) -> FileLock:
    """Hold a run's folder, until the lock is released or this process ends.

    Raises UserError, at once, where another process trains in it.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UserError(f"another process trains in {folder}; choose another train.run") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written to: {error.strerror}") from None
    return lock


def age(path: Path) -> str:
    """How long ago a file was written, in words."""
    minutes = (time.time() - path.stat().st_mtime) / 60
    for unit, size in (("days", 1440), ("hours", 60)):
        if minutes >= 2 * size:
            return f"{minutes / size:.0f} {unit} ago"
    return f"{minutes:.0f} minutes ago"
