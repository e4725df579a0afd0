"""Decoded and resized images, kept so that a file is read once: in memory, or in one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..files import read_with_digest, write_atomically, write_with_digest

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

    An index beside it says where each image is stored and from which file it was made.
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
    images: dict[Key, str],
    settings: Any,
    make: Callable[[Key], Tensor],
    threads: int,
    note: Callable[[str], None],
) -> Disk:
    """Open the cache in `folder`; build it if there is none, or if it is damaged or outdated.

    Args:
        folder: Holds `images.bin` and its index `images.json`, each of them with a digest.
        images: The SHA-256 of the file of each image. Neither its path nor its time counts.
        settings: What else the images depend on.
        make: Decodes and resizes an image.
        threads: How many images are made at once.
        note: Gets a sentence on what is read or written, and why.

    Raises:
        UserError: The cache cannot be written.
    """
    data, index = folder / "images.bin", folder / "images.json"
    listed = [[domain, number, digest] for (domain, number), digest in images.items()]
    wanted = json.loads(json.dumps({"settings": settings, "images": listed}))
    if index.exists():
        held = _read(index)
        why = _outdated(held, wanted, data)
        if held is not None and why is None:
            note(f"images cached in {folder}")
            return Disk(data, _entries(held["entries"]))
        note(f"the images cached in {folder} are made again: {why}")
    note(f"caching {len(images)} images in {folder}")
    written: dict[str, Any] = {}
    write_atomically(data, lambda path: written.update(_write(path, images, make, threads)))
    write_with_digest(index, json.dumps(wanted | written).encode())
    return Disk(data, _entries(written["entries"]))


def _write(
    path: Path, images: Iterable[Key], make: Callable[[Key], Tensor], threads: int
) -> dict[str, Any]:
    """Write the images one after another; where each one is, and the digest of all."""
    entries: list[list[Any]] = []
    start, digest = 0, hashlib.sha256()
    with path.open("wb") as file, ThreadPoolExecutor(max(1, threads)) as pool:
        keys = list(images)
        for first in range(0, len(keys), 64):  # a few at a time: they need not all fit in memory
            part = keys[first : first + 64]
            for (domain, number), image in zip(part, pool.map(_or_none(make), part), strict=True):
                if image is None:
                    continue
                content = image.numpy().tobytes() + bytes(-image.nbytes % 8)
                file.write(content)
                digest.update(content)
                entries.append([domain, number, start, str(image.numpy().dtype), list(image.shape)])
                start += len(content)
    return {"entries": entries, "sha256": digest.hexdigest()}


def _or_none(make: Callable[[Key], Tensor]) -> Callable[[Key], Tensor | None]:
    """A bad file is left to the run, which reports it when its turn comes."""

    def attempt(key: Key) -> Tensor | None:
        try:
            return make(key)
        except UserError:
            return None

    return attempt


def _read(index: Path) -> dict[str, Any] | None:
    """An index as it was written, or None."""
    content = read_with_digest(index)
    return None if content is None else json.loads(content)


def _outdated(held: dict[str, Any] | None, wanted: dict[str, Any], data: Path) -> str | None:
    """Why a cache can't be used; None if it can."""
    if held is None:
        return "their index is damaged or of another version"
    if held["settings"] != wanted["settings"]:
        return "the settings of the data changed"
    if held["images"] != wanted["images"]:
        return "the images changed"
    try:
        with data.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{data.name} cannot be read ({error.strerror})"
    return None if found == held["sha256"] else f"{data.name} is damaged"


def _entries(listed: Sequence[Sequence[Any]]) -> dict[Key, tuple[int, str, tuple[int, ...]]]:
    return {
        (domain, number): (start, dtype, tuple(shape))
        for domain, number, start, dtype, shape in listed
    }
