"""Scan image files: decode each file once and keep a record of it outside of the data folder.

A second scan decodes only new and changed files, by path, size and modification time.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from PIL import Image

from ... import __version__
from ...errors import UserError
from ...files import read_with_digest, user_cache, write_with_digest
from ...images import Source, decode
from ...images.io import ReadOptions
from ...images.masks import decode_mask
from ...images.nodata import Mask, NoData, suspected_nodata
from ...images.sources import ArchiveChanged, printable
from .record import FileRecord, masked_fractions, ranges

Progress = Callable[[int, int], None]
"""Called with the number of scanned files and the number of all files."""
Store = Path | Literal["user"] | None
"""Folder in which records are kept: a given one, the user's cache, or none."""
Stamp = tuple[int, int] | str
"""Size and modification time of a file, or why it cannot be read."""

NO_MASKS: Mapping[Source, Source] = {}
MAX_THREADS = 16  # each may hold a large image
# Other versions may read images differently. Increase the number when the readers change.
VERSION = [5, __version__, np.__version__, PIL.__version__]


def scan_files(
    sources: Iterable[Source],
    options: ReadOptions | None = None,
    *,
    verify: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    store: Store = "user",
    root: Path | None = None,
    masks: Mapping[Source, Source] = NO_MASKS,
    domain: str = "",
) -> dict[Source, FileRecord]:
    """Return a record of each file, in order. Only new and changed files are decoded.

    Args:
        sources: The files.
        options: How to read them.
        verify: Hash all files, to detect changes that kept size and time.
        threads: Number of threads; None: one for each processor, up to `MAX_THREADS`.
        progress: Called with the progress.
        store: Where records are kept. If it is damaged or cannot be written, all files are decoded
            again the next time.
        root: The dataset: a folder, an archive or a manifest.
        masks: Mask file of each image that has one.
        domain: Domain of the masks: the records of each domain with masks are kept for themselves.
    """
    options = options or ReadOptions(nodata=NoData(tag=True))
    wanted = {source: _key(source, masks.get(source)) for source in sources}
    path = _store_path(store, root, wanted.values(), options, domain)
    known = _load(path) if path else {}
    of_masks = (masks[source].path for source in wanted if source in masks)
    stamps = {
        file: _stamp(file)
        for file in dict.fromkeys([*(source.path for source in wanted), *of_masks])
    }
    old = {source: known.get(name) for source, name in wanted.items()}
    records = {
        source: record
        for source, record in old.items()
        if record
        and not verify
        and record[:2] == stamps[source.path]
        and (source not in masks or record.mask_stamp == stamps[masks[source].path])
    }
    due = [source for source in wanted if source not in records]
    unchanged = len(records)
    if progress:
        progress(unchanged, len(wanted))

    def scan(source: Source) -> FileRecord:
        record = _scan(source, stamps[source.path], options, old[source], masks.get(source))
        mask = masks.get(source)
        stamp = stamps[mask.path] if mask else ""
        if isinstance(stamp, str):
            return record
        return record._replace(mask_size=stamp[0], mask_mtime_ns=stamp[1])

    count = threads or min(os.cpu_count() or 1, MAX_THREADS)
    pool = ThreadPoolExecutor(count)
    try:
        with _pillow_blocks(count):
            # Decoders, hashes and minima release the interpreter's lock.
            for source, record in zip(due, pool.map(scan, due), strict=True):
                records[source] = record
                if progress:
                    progress(len(records), len(wanted))
    finally:  # an interrupted scan keeps its records too
        pool.shutdown(cancel_futures=True)
        kept = {name: records[source] for source, name in wanted.items() if source in records}
        if path and (len(records) > unchanged or len(kept) != len(known)):
            _save(path, {name: record for name, record in kept.items() if record.sha256})
    return {source: records[source] for source in wanted}


def _store_path(
    store: Store, root: Path | None, names: Iterable[str], options: ReadOptions, domain: str
) -> Path | None:
    """Return the file that keeps the records of a dataset, or None for no store."""
    folder = user_cache() if store == "user" else store
    if folder is None:
        return None
    start = os.path.abspath(root or os.path.commonpath([*map(os.path.dirname, names)] or "."))
    key = [start, *options, *[domain] * bool(domain)]
    return folder / "scans" / f"{_digest(json.dumps(key))[:32]}.json"


def _key(source: Source, mask: Source | None) -> str:
    """Return the key of the record of an image and of its mask."""
    names = [
        f"{os.path.abspath(one.path)}\0{one.member}".rstrip("\0") for one in (source, mask) if one
    ]
    return "\0mask\0".join(names)


def _load(path: Path) -> dict[str, FileRecord]:
    """Load the records of a store; none if it is damaged or from another version."""
    try:
        table = json.loads(read_with_digest(path) or b"")
        if table["version"] != VERSION:
            return {}
        records = {name: FileRecord(*row) for name, row in table["files"].items()}
        for name, record in records.items():
            left, right = ((tuple(low), tuple(high)) for low, high in record.halves)
            first, second = record.masked
            records[name] = record._replace(halves=(left, right), masked=(first, second))
        return records
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}


def _save(path: Path, records: Mapping[str, FileRecord]) -> None:
    content = json.dumps({"version": VERSION, "files": records}, separators=(",", ":"))
    with suppress(UserError):  # without the store the next scan takes longer
        write_with_digest(path, content.encode("ascii"))


def _stamp(path: Path) -> Stamp:
    """Return the size and time of a file, or why it is not opened."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        return f"cannot be read: {_reason(error)}"
    regular = stat.S_ISREG(status.st_mode)
    return (status.st_size, status.st_mtime_ns) if regular else "is not a regular file"


@contextmanager
def _pillow_blocks(count: int) -> Iterator[None]:
    """Let Pillow reuse the memory of one image for the next instead of freeing it.

    Threads that request memory from the system wait for each other: half of all time.
    """
    pillow = Image.core  # type: ignore[attr-defined]  # its allocator is documented, not typed
    before = pillow.get_blocks_max()
    pillow.set_blocks_max(max(before, count))
    try:
        yield
    finally:
        pillow.set_blocks_max(before)


def _scan(
    source: Source,
    stamp: Stamp,
    options: ReadOptions,
    old: FileRecord | None,
    mask: Source | None,
) -> FileRecord:
    """Read a file and its mask, and decode them unless their contents are known."""
    if isinstance(stamp, str):
        return FileRecord(0, 0, "", stamp)
    length = source.length if source.member else stamp[0]
    if length > 32 * options.max_pixels:  # 4 channels of float64 for each pixel
        return FileRecord(*stamp, "", f"is a file of {length / 1e9:.0f} GB, too large for an image")
    try:
        data = source.read()
        of_mask = b"" if mask is None else mask.read()
    except ArchiveChanged:
        raise
    except Exception as error:  # archives raise errors of every kind, and bytes can be anything
        return FileRecord(*stamp, "", f"cannot be read: {_reason(error)}")
    digest, mask_digest = _digest(data), "" if mask is None else _digest(of_mask)
    if old and (old.sha256, old.mask_sha256) == (digest, mask_digest):
        return old._replace(size=stamp[0], mtime_ns=stamp[1])
    try:
        missing = None if mask is None else decode_mask(of_mask, mask, options.max_pixels)
        record = FileRecord(*stamp, digest, mask_sha256=mask_digest)
        return _decode(data, source, record, options, missing)
    except UserError as error:  # its message begins with the file's name
        if isinstance(error.__context__, MemoryError):  # not a property of the file: not kept
            digest = ""
        text = str(error)
        if not text.startswith(f"{source} "):  # it is about the mask
            return FileRecord(*stamp, digest, f"cannot be used: {text}")
        return FileRecord(*stamp, digest, text.removeprefix(f"{source} "))


def _decode(
    data: bytes, source: Source, empty: FileRecord, options: ReadOptions, mask: Mask | None
) -> FileRecord:
    pixels, header, tags = decode(data, source, *options, fit=False, mask=mask)
    return empty._replace(
        height=header.height,
        width=header.width,
        channels=pixels.shape[2],
        dtype=header.dtype,
        mode=header.mode,
        alpha=header.alpha,
        halves=ranges(pixels),
        nodata="" if options.nodata.for_tag(tags.nodata) is None else tags.nodata,
        suspected_nodata=suspected_nodata(pixels),
        icc=_digest(tags.icc) if tags.icc else "",
        metadata=_digest(tags.metadata) if tags.metadata else "",
        masked=masked_fractions(pixels),
    )


def _digest(data: bytes | str) -> str:
    data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return hashlib.sha256(data).hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(error) or type(error).__name__
