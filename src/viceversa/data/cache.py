"""Decoded and resized images: loaded ahead by threads, cached in memory or in one file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..files import read_with_digest, sha256, write_atomically, write_with_digest
from ..images.domain import Domain
from ..images.loading import half_of, load, resize_for, to_domain_range
from ..images.sources import Source
from ..images.values import to_tensor
from .config import DataConfig, resized_size
from .index import SplitIndex

Key = tuple[str, int]
"""Domain, and index of the image in it."""
CHUNK = 64  # images that are decoded before they are written: not all need to fit in memory
LOAD_TIMEOUT = 30.0  # seconds that an image may take to load
TICK = 0.25  # seconds
MAX_TICK = 4 * TICK  # seconds that a tick counts at most


class ImageStore:
    """Images of a split by (domain, index), decoded and resized; cached if they fit.

    Args:
        index: The files of the split.
        config: Settings of the data.
        domains: The domains `a` and `b`.
    """

    def __init__(self, index: SplitIndex, config: DataConfig, domains: Mapping[str, Domain]):
        self.index, self.config, self.domains = index, config, domains
        # Domain and dtype of the images of another dtype than that of their domain.
        self.other_dtypes: dict[tuple[str, str], None] = {}
        megabytes = config.cache_megabytes if config.cache == "memory" else 0
        self._cache: MemoryCache | DiskCache = MemoryCache(megabytes)
        self._pending: dict[Key, Future[Tensor]] = {}

    def get(self, key: Key) -> Tensor:
        """Return an image (channels, h, w). Raises UserError if it cannot be loaded."""
        image = self._cache.get(key)
        if image is None:
            future = self._pending.pop(key, None)
            try:
                image = self.decode(key) if future is None else result_within(future, LOAD_TIMEOUT)
            except LoadTimeout:
                raise UserError(
                    f"{self.source(key)} did not load within {LOAD_TIMEOUT:.0f} s; check the disk "
                    "or network on which it is stored"
                ) from None
            self._cache.put(key, image)
        return image

    def source(self, key: Key) -> Source:
        """Return the file of an image."""
        domain, number = key
        return self.index.files(domain)[number]

    def prefetch(self, key: Key, pool: Executor) -> None:
        """Start to decode an image in a pool of threads, unless it is cached."""
        if key not in self._pending and self._cache.get(key) is None:
            self._pending[key] = pool.submit(self.decode, key)

    def cancel_prefetch(self) -> None:
        """Forget images that were started and not requested."""
        self._pending.clear()

    def decode(self, key: Key) -> Tensor:
        """Decode and resize an image. Raises UserError if it cannot be used."""
        name, source = key[0], self.source(key)
        domain = self.domains[name]
        half = half_of(name) if self.index.side_by_side else None
        half = self.index.half_b if name == "b" and self.index.half_b else half
        max_pixels = self.config.max_megapixels * 10**6
        mask = self.index.masks.get((name, source))
        if mask is None and getattr(self.config, name).masks:
            raise UserError(f"{source} has no mask in data.{name}.masks", path=source.path)
        pixels = load(source, domain.config, half, max_pixels, domain.nodata_value, mask)
        size = resized_size(pixels.shape[0], pixels.shape[1], self.config, source)
        if domain.other_dtype(dtype := pixels.dtype.name):
            self.other_dtypes[name, dtype] = None
        return to_tensor(to_domain_range(resize_for(pixels, *size, domain.config), domain, source))

    def cache_on_disk(
        self, folder: Path, digests: Mapping[Source, str], note: Callable[[str], None]
    ) -> None:
        """Cache all images in a file in `folder`; `digests`: the SHA-256 of their files."""
        config = self.config
        keys = [(name, i) for name in "ab" for i in range(len(self.index.files(name)))]
        sizes = config.preprocess, config.load_size, config.crop_size, self.index.side_by_side
        settings = [*sizes, *(repr(self.domains[name].config) for name in "ab")]
        images = {key: digests[self.source(key)] for key in keys}
        threads = max(1, config.workers)
        self._cache = open_disk_cache(folder, images, settings, self.decode, threads, note)


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

    Args:
        path: The file.
        entries: [domain, index, first byte, dtype, shape] of each image.
    """

    def __init__(self, path: Path, entries: list[list[Any]]):
        # Copy on write: torch does not accept read-only arrays.
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
        folder: Folder of `images.bin` and its index `images.json`, which contains the digests.
        images: SHA-256 of the file of each image; paths and times do not matter.
        settings: Settings that change the images.
        decode: Decodes and resizes an image.
        threads: Number of images that are decoded at once.
        note: Called with a sentence when the cache is opened or built.

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
        note(f"rebuilding the image cache in {folder}: {problem}")
    note(f"caching {len(images)} images in {folder}")
    written: dict[str, Any] = {}
    write_atomically(path, lambda file: written.update(_write(file, list(images), decode, threads)))
    write_with_digest(index, json.dumps(wanted | written).encode())
    return DiskCache(path, written["entries"])


def _write(
    path: Path, keys: list[Key], decode: Callable[[Key], Tensor], threads: int
) -> dict[str, Any]:
    """Write the images one after another and return their entries and the digest of all.

    The digest is computed from memory, so that damage while writing is detected.
    """

    def attempt(key: Key) -> Tensor | None:
        try:
            return decode(key)
        except UserError:  # reported when training loads it
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
        return "its index is damaged or from another version"
    for key, text in (("settings", "the settings of the data"), ("images", "the images")):
        if old[key] != wanted[key]:
            return f"{text} changed"
    try:
        return "" if sha256(path) == old["sha256"] else f"{path.name} is damaged"
    except UserError as error:
        return str(error)


class LoadTimeout(Exception):
    """A file did not load within the time limit."""


def result_within(future: Future[Tensor], seconds: float) -> Tensor:
    """Return a future's result, or raise its error.

    The wait is divided into ticks. A tick that takes much longer than it should is one in which
    the whole process was stopped (Ctrl-Z, SIGSTOP, a suspended machine) or swapped out, so that
    its file could not be read either: it counts as `MAX_TICK` seconds.

    Raises:
        LoadTimeout: The result did not come within `seconds`, without such gaps.
    """
    waited = 0.0
    while waited < seconds:
        began = time.monotonic()
        if wait([future], min(TICK, seconds - waited)).done:
            return future.result()
        waited += min(time.monotonic() - began, MAX_TICK)
    if future.done():
        return future.result()
    raise LoadTimeout
