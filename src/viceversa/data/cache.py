"""Decoded and resized images, kept so that a file is read once: in memory, or in one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..images.sources import Source

Key = tuple[str, int]  # domain, index in it


class Memory:
    """Images in memory, while there is room; what does not fit is not kept."""

    def __init__(self, megabytes: int):
        self._room = megabytes * 2**20
        self._kept: dict[Key, Tensor] = {}

    def get(self, key: Key) -> Tensor | None:
        """The image, where it is kept."""
        return self._kept.get(key)

    def put(self, key: Key, image: Tensor) -> None:
        """Keep an image where there is room."""
        if key not in self._kept and image.nbytes <= self._room:
            self._room -= image.nbytes
            self._kept[key] = image


class Disk:
    """Images in one file, mapped into memory: written whole before training, never changed.

    Beside it an index says where each image lies and what it was made from.
    """

    def __init__(self, data: Path, entries: dict[Key, tuple[int, str, tuple[int, ...]]]):
        # Copy on write: torch takes no array that can't be written, and the file stays as it is.
        self._bytes = np.memmap(data, dtype=np.uint8, mode="c") if data.stat().st_size else None
        self._entries = entries

    def get(self, key: Key) -> Tensor | None:
        """The image, where it was kept."""
        if key not in self._entries or self._bytes is None:
            return None
        start, dtype, shape = self._entries[key]
        length = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return torch.from_numpy(self._bytes[start : start + length].view(dtype).reshape(shape))

    def put(self, key: Key, image: Tensor) -> None:
        """Nothing: the file is complete."""


def on_disk(
    folder: Path,
    sources: dict[Key, Source],
    settings: Any,
    make: Callable[[Key], Tensor],
    threads: int,
    note: Callable[[str], None],
) -> Disk:
    """The cache in `folder`, made where there is none or where it is stale.

    `settings`: what the images depend on besides their files. A file that changed since, or other
    settings, make the whole cache stale: it is never used then, but made anew, and `note` says why.
    Raises UserError where it cannot be written.
    """
    data, index = folder / "images.bin", folder / "images.json"
    wanted = {
        "settings": settings,
        "sources": [[domain, number, str(source), *source.stamp()]
                    for (domain, number), source in sources.items()],
    }  # fmt: skip
    wanted = json.loads(json.dumps(wanted))
    held = _read(index)
    if held is not None:
        why = _stale(held, wanted, data)
        if why is None:
            note(f"images kept in {folder}")
            return Disk(data, _entries(held["entries"]))
        note(f"the images kept in {folder} are stale and made anew: {why}")
    note(f"keeping {len(sources)} images in {folder}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        index.unlink(missing_ok=True)
        entries = _write(data, sources, make, threads)
        aside = index.with_suffix(".tmp")
        aside.write_text(json.dumps({**wanted, "entries": entries, "bytes": data.stat().st_size}))
        aside.replace(index)
    except OSError as error:
        raise UserError(f"{folder} cannot keep images: {error.strerror}") from None
    return Disk(data, _entries(entries))


def _write(
    data: Path, sources: Iterable[Key], make: Callable[[Key], Tensor], threads: int
) -> list[list[Any]]:
    entries: list[list[Any]] = []
    start = 0
    with data.open("wb") as file, ThreadPoolExecutor(max(1, threads)) as pool:
        keys = list(sources)
        for first in range(0, len(keys), 64):  # a few at a time: they need not all fit in memory
            part = keys[first : first + 64]
            for (domain, number), image in zip(part, pool.map(_or_none(make), part), strict=True):
                if image is None:
                    continue
                file.write(image.numpy().tobytes())
                entries.append([domain, number, start, str(image.numpy().dtype), list(image.shape)])
                start += image.nbytes + -image.nbytes % 8
                file.write(bytes(-image.nbytes % 8))
    return entries


def _or_none(make: Callable[[Key], Tensor]) -> Callable[[Key], Tensor | None]:
    """A bad file is left to the run, which reports it when its turn comes."""

    def attempt(key: Key) -> Tensor | None:
        try:
            return make(key)
        except UserError:
            return None

    return attempt


def _read(index: Path) -> dict[str, Any] | None:
    try:
        held: dict[str, Any] = json.loads(index.read_text())
        return held if {"settings", "sources", "entries", "bytes"} <= held.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _stale(held: dict[str, Any], wanted: dict[str, Any], data: Path) -> str | None:
    if not data.is_file() or data.stat().st_size != held["bytes"]:
        return f"{data.name} is cut off"
    if held["settings"] != wanted["settings"]:
        return "the settings of the data changed"
    if held["sources"] == wanted["sources"]:
        return None
    old = {tuple(one) for one in held["sources"]}
    new = [one for one in wanted["sources"] if tuple(one) not in old]
    return f"{new[0][2]} changed" if new else "files were taken away"


def _entries(listed: Sequence[Sequence[Any]]) -> dict[Key, tuple[int, str, tuple[int, ...]]]:
    return {
        (domain, number): (start, dtype, tuple(shape))
        for domain, number, start, dtype, shape in listed
    }
