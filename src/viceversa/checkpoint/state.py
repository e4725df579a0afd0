"""Checkpoints: the state of training, and the folder with the latest ones."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from ..config.compatibility import current_state
from ..errors import UserError
from ..fields import nested
from ..files import remove_temporary, write_error
from . import container
from .header import Damaged, read_any_header

SUFFIX = ".safetensors"
LOCK = ".lock"
TENSOR = "tensor:"  # prefix of a tensor's name, in place of the tensor in the header
State = dict[str, Any]


class Checkpoints:
    """The checkpoints of a run, named by the images processed; the newest valid one counts."""

    def __init__(self, folder: Path, keep: int):
        """`keep`: how many are kept; older ones are removed after a newer one is durable."""
        self.folder, self.keep = folder, keep

    def save(self, state: State, images: int) -> Path:
        """Write a state, then remove old ones. Raises UserError if it cannot be written."""
        path = self.folder / f"{images:010d}{SUFFIX}"
        save_state(path, state)
        with suppress(OSError, UserError):  # the next save tries again
            files = self.files()
            for old in files[files.index(path) + self.keep :]:
                old.unlink(missing_ok=True)
        return path

    def latest(self, note: Callable[[str], None]) -> tuple[State, Path] | None:
        """Load the newest checkpoint that is not damaged; returns its state and its file.

        Damaged ones before it are renamed to `NAME.damaged`, and `note` gets a sentence for each.

        Raises:
            UserError: All checkpoints are damaged, or the system could not read one: a file that
                is unreadable now may be intact. Nothing is renamed then.
        """
        damaged: list[tuple[Path, Damaged]] = []
        for path in self.files():
            try:
                state = load_state(path)
            except Damaged as error:
                damaged.append((path, error))
                continue
            except UserError as error:
                why = f"{path} is a folder" if path.is_dir() else str(error)
                raise UserError(
                    f"{why}; make it readable to resume from it, or move it away to resume from "
                    "the checkpoint before it",
                    path=path,
                ) from None
            for file, what in damaged:
                kept = _keep_damaged(file)
                note(f"{what}; kept as {kept.name}, going back to the checkpoint before it")
            return state, path
        if damaged:
            raise UserError(
                f"every checkpoint in {self.folder} is damaged ({damaged[0][1]}); remove them to "
                "start again, or choose another train.run",
                option="train.run",
                path=self.folder,
            )
        return None

    def settings(self) -> State:
        """Return the settings in the newest checkpoint with a valid header, or an empty dict.

        Only headers are read, so `latest` may find this checkpoint damaged.
        """
        for path in self.files():
            with suppress(UserError):
                state = current_state(nested(read_any_header(path), "state"))
                if sections := nested(state, "sections"):
                    return sections
        return {}

    def files(self) -> list[Path]:
        """Return the checkpoints, newest first. Raises UserError if they cannot be listed."""
        try:
            found = [self.folder / name for name in os.listdir(self.folder)]
        except FileNotFoundError:
            if self.folder.is_symlink():  # such as to a disk that is not mounted
                raise UserError(
                    f"{self.folder} is a link to a folder that is not there", path=self.folder
                ) from None
            return []
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be read: {error.strerror}", path=self.folder
            ) from None
        named = [path for path in found if path.suffix == SUFFIX and path.stem.isdecimal()]
        return sorted(named, reverse=True)

    def clean(self) -> None:
        """Remove temporary files of interrupted saves."""
        for path in self.folder.glob("*.tmp"):
            with suppress(OSError):  # the next save overwrites it
                path.unlink(missing_ok=True)


def save_state(path: Path, state: State) -> None:
    """Write nested dicts and lists of tensors and JSON values."""
    plain, tensors = split_tensors(state)
    container.save(path, tensors, {"kind": "state", "state": plain})


def load_state(path: Path) -> State:
    """Load the state that `save_state` wrote. Raises as `container.load`."""
    tensors, header = container.load(path)
    if header.get("kind") != "state" or not isinstance(header.get("state"), dict):
        raise Damaged(f"{path} is not a checkpoint of viceversa", path=path)
    try:
        state: State = join_tensors(header["state"], tensors)
    except KeyError as error:
        raise Damaged(f"{path} is damaged: it has no tensor {error}", path=path) from None
    return state


def state_to_bytes(state: Any) -> bytes:
    """Return nested containers of tensors and JSON values as bytes; tensors may be on a GPU."""
    plain, tensors = split_tensors(state)
    return container.to_bytes(tensors, {"state": plain})


def state_from_bytes(data: bytes) -> Any:
    """Return what `state_to_bytes` was given, with the tensors on the CPU."""
    tensors, header = container.from_bytes(data)
    return join_tensors(header["state"], tensors)


def split_tensors(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Replace the tensors in nested dicts and lists by their names; return both."""
    tensors: dict[str, Tensor] = {}
    return _split(state, "", tensors), tensors


def _split(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a value with names in place of tensors, which are added to `tensors`."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach()
        return TENSOR + name
    if isinstance(value, dict):
        return {key: _split(inner, f"{name}/{key}", tensors) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_split(inner, f"{name}/{i}", tensors) for i, inner in enumerate(value)]
    assert not (isinstance(value, str) and value.startswith(TENSOR)), value
    return value


def join_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Invert `split_tensors`. Raises KeyError for a missing tensor."""
    if isinstance(value, str) and value.startswith(TENSOR):
        return tensors[value.removeprefix(TENSOR)]
    if isinstance(value, dict):
        return {key: join_tensors(inner, tensors) for key, inner in value.items()}
    if isinstance(value, list):
        return [join_tensors(inner, tensors) for inner in value]
    return value


def _keep_damaged(path: Path) -> Path:
    """Rename a damaged checkpoint so that it no longer counts as one."""
    kept, number = path.with_name(f"{path.name}.damaged"), 2
    while os.path.lexists(kept):
        kept, number = path.with_name(f"{path.name}.damaged-{number}"), number + 1
    try:
        return path.rename(kept)
    except OSError as error:
        raise UserError(
            f"{path} is damaged, and cannot be renamed to {kept.name}: {error.strerror}", path=path
        ) from None


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Create a run's folder and lock it; remove it again if nothing was written to it.

    Temporary files of a process that was killed are removed. The lock is the system's: it ends with
    the process, however that ends.

    Raises:
        UserError: Another process holds the folder, or it cannot be written to.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UserError(
            f"another process trains in {folder}; choose another train.run",
            option="train.run",
            path=folder,
        ) from None
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to: {write_error(error, folder)}", path=folder
        ) from None
    remove_temporary(folder)
    try:
        yield
    finally:
        with suppress(OSError):
            if created and os.listdir(folder) == [LOCK]:
                (folder / LOCK).unlink()  # while it is held: another process locks a new file
                for path in created:
                    path.rmdir()
        lock.release()


def age(path: Path) -> str:
    """How long ago a file was written, in words."""
    minutes = (time.time() - path.stat().st_mtime) / 60
    if minutes < -1:
        return "at a time in the future (was the clock changed?)"
    for unit, size in (("days", 1440), ("hours", 60)):
        if minutes >= 2 * size:
            return f"{minutes / size:.0f} {unit} ago"
    return f"{max(minutes, 0):.0f} minutes ago"
