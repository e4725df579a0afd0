"""Cache of decoded and resized images, in memory or in one file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..files import read_with_digest, sha256, write_atomically, write_with_digest

Key = tuple[str, int]
"""Domain, and index of the image in it."""
CHUNK = 64  # images that are decoded before they are written: not all need to fit in memory


class MemoryCache:
    """Images in memory, up to a size limit."""

    def __init__(self, megabytes: int):
        self._left = megabytes * 2**20
        self._images: dict[Key, Tensor] = {}

    def get(self, key: Key) -> Tensor | None:
        """Return an image if it is cached."""
        return self._images.get(key)

    def put(self, key: Key, image: Tensor) -> None:
        """Cache an image if it fits."""
        if key not in self._images and image.nbytes <= self._left:
            self._left -= image.nbytes
            self._images[key] = image


class DiskCache:
    """Images in one memory-mapped file, which is complete before training and never changes.

    `entries`: [domain, index, first byte, dtype, shape] of each image.
    """

    def __init__(self, path: Path, entries: list[list[Any]]):
        # Copy on write: torch takes no read-only array, and the file does not change.
        self._bytes = np.memmap(path, dtype=np.uint8, mode="c") if path.stat().st_size else None
        self._entries = {(domain, index): entry for domain, index, *entry in entries}

    def get(self, key: Key) -> Tensor | None:
        """Return an image if it is cached."""
        if key not in self._entries or self._bytes is None:
            return None
        start, dtype, shape = self._entries[key]
        length = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return torch.from_numpy(self._bytes[start : start + length].view(dtype).reshape(shape))

    def put(self, key: Key, image: Tensor) -> None:
        """Do nothing: the file is complete."""


def open_disk_cache(
    folder: Path,
    images: dict[Key, str],
    settings: Any,
    decode: Callable[[Key], Tensor],
    threads: int,
    note: Callable[[str], None],
) -> DiskCache:
    """Open the cache in `folder`; build it if there is none, or if it is damaged or outdated.

    Args:
        folder: Contains `images.bin` and its index `images.json`, each of them with a digest.
        images: SHA-256 of the file of each image. Neither its path nor its time counts.
        settings: Settings that change the images.
        decode: Decodes and resizes an image.
        threads: Number of images that are decoded at once.
        note: Gets a sentence on what is read or written, and why.

    Raises:
        UserError: The cache cannot be written.
    """
    path, index = folder / "images.bin", folder / "images.json"
    listed = [[*key, digest] for key, digest in images.items()]
    wanted = json.loads(json.dumps({"settings": settings, "images": listed}))
    if index.exists():
        content = read_with_digest(index)
        old = None if content is None else json.loads(content)
        problem = _problem(old, wanted, path)
        if old and not problem:
            note(f"images cached in {folder}")
            return DiskCache(path, old["entries"])
        note(f"building the image cache in {folder} again: {problem}")
    note(f"caching {len(images)} images in {folder}")
    written: dict[str, Any] = {}
    write_atomically(path, lambda file: written.update(_write(file, list(images), decode, threads)))
    write_with_digest(index, json.dumps(wanted | written).encode())
    return DiskCache(path, written["entries"])


def _write(
    path: Path, keys: list[Key], decode: Callable[[Key], Tensor], threads: int
) -> dict[str, Any]:
    """Write the images one after another and return their entries and the digest of all.

    The digest is that of the images, so that it does not fit if the file is damaged on the way.
    """

    def attempt(key: Key) -> Tensor | None:
        try:
            return decode(key)
        except UserError:  # reported when training reads it
            return None

    entries: list[list[Any]] = []
    start, digest = 0, hashlib.sha256()
    with path.open("wb") as file, ThreadPoolExecutor(max(1, threads)) as pool:
        for first in range(0, len(keys), CHUNK):
            part = keys[first : first + CHUNK]
            for key, image in zip(part, pool.map(attempt, part), strict=True):
                if image is not None:
                    values = image.numpy()
                    entries.append([*key, start, str(values.dtype), list(values.shape)])
                    content = values.tobytes() + bytes(-values.nbytes % 8)
                    digest.update(content)
                    start += file.write(content)
    return {"entries": entries, "sha256": digest.hexdigest()}


def _problem(old: dict[str, Any] | None, wanted: dict[str, Any], path: Path) -> str:
    """Return why a cache cannot be used, or an empty text."""
    if old is None:
        return "its index is damaged or of another version"
    for key, text in (("settings", "the settings of the data"), ("images", "the images")):
        if old[key] != wanted[key]:
            return f"{text} changed"
    try:
        return "" if sha256(path) == old["sha256"] else f"{path.name} is damaged"
    except UserError as error:
        return str(error)


T = TypeVar("T")
TICK = 0.25  # seconds
MOST = 4 * TICK  # seconds that a tick counts at most


class LoadTimeout(Exception):
    """The time limit is over."""


def result_within(future: Future[T], seconds: float) -> T:
    """Return a future's result, or raise its error.

    The wait is divided into ticks. A tick that took much longer than it should is one in which the
    whole process was stopped (Ctrl-Z, SIGSTOP, a suspended machine) or swapped out, and its file
    could not be read either: it counts as `MOST` seconds.

    Raises:
        TooLate: The result did not come within `seconds`, without such gaps.
    """
    waited = 0.0
    while waited < seconds:
        began = time.monotonic()
        if wait([future], min(TICK, seconds - waited)).done:
            return future.result()
        waited += min(time.monotonic() - began, MOST)
    if future.done():
        return future.result()
    raise LoadTimeout
