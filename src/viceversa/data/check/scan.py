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
from typing import Literal, NamedTuple

import numpy as np
import PIL
from PIL import Image

from ... import __version__
from ...errors import UserError
from ...files import read_with_digest, user_cache, write_with_digest
from ...images import Pixels, Source, decode
from ...images.domain import READ_AS
from ...images.io import ReadOptions
from ...images.nodata import NoData, mask_of, suspected_nodata
from ...images.sources import ArchiveChanged, printable

Progress = Callable[[int, int], None]
"""Called with the number of scanned files and the number of all files."""
Store = Path | Literal["user"] | None
"""Folder in which records are kept: a given one, the user's cache, or none."""
Range = tuple[tuple[float, ...], tuple[float, ...]]
"""Minimum and maximum of each channel."""
Stamp = tuple[int, int] | str
"""Size and modification time of a file, or why it cannot be read."""

MAX_THREADS = 16  # each may hold a large image
# Other versions may read images differently. Increase the number when the readers change.
VERSION = [4, __version__, np.__version__, PIL.__version__]


class FileRecord(NamedTuple):
    """Properties of one file, of its pixels upright and in the dtype in which they are read."""

    size: int
    mtime_ns: int
    sha256: str
    """Empty if the file could not be read."""
    error: str = ""
    """Why the file cannot be used, to follow its name; the other fields are then empty."""
    height: int = 0
    width: int = 0
    channels: int = 0
    dtype: str = ""
    mode: str = ""
    alpha: bool = False
    halves: tuple[Range, Range] = (((), ()), ((), ()))
    """Value ranges of the left and the right half, without no-data values; (inf, -inf): none."""
    nodata: str = ""
    """GDAL tag 42113."""
    suspected_nodata: float | None = None
    """Value that may mean no data, although the file does not declare it."""
    icc: str = ""
    metadata: str = ""
    """SHA-256 of the ICC profile, and of GDAL tag 42112; empty if there is none."""

    @property
    def range(self) -> Range:
        """Value range of the whole image."""
        return join(*self.halves)

    @property
    def read_dtype(self) -> str:
        """The dtype in which the pixels are read."""
        return READ_AS.get(self.dtype, "float32")


def join(left: Range, right: Range) -> Range:
    """Return the range of two images together."""
    return tuple(map(min, left[0], right[0])), tuple(map(max, left[1], right[1]))


def scan_files(
    sources: Iterable[Source],
    options: ReadOptions | None = None,
    *,
    verify: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    store: Store = "user",
    root: Path | None = None,
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
    """
    options = options or ReadOptions(nodata=NoData(tag=True))
    wanted = {s: f"{os.path.abspath(s.path)}\0{s.member}".rstrip("\0") for s in sources}
    path = _store_path(store, root, wanted.values(), options)
    known = _load(path) if path else {}
    stamps = {file: _stamp(file) for file in dict.fromkeys(source.path for source in wanted)}
    old = {source: known.get(name) for source, name in wanted.items()}
    records = {
        source: record
        for source, record in old.items()
        if record and not verify and record[:2] == stamps[source.path]
    }
    due = [source for source in wanted if source not in records]
    unchanged = len(records)
    if progress:
        progress(unchanged, len(wanted))

    def scan(source: Source) -> FileRecord:
        return _scan(source, stamps[source.path], options, old[source])

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
    store: Store, root: Path | None, names: Iterable[str], options: ReadOptions
) -> Path | None:
    """Return the file that keeps the records of a dataset, or None for no store."""
    folder = user_cache() if store == "user" else store
    if folder is None:
        return None
    start = os.path.abspath(root or os.path.commonpath([*map(os.path.dirname, names)] or "."))
    return folder / "scans" / f"{_digest(json.dumps([start, *options]))[:32]}.json"


def _load(path: Path) -> dict[str, FileRecord]:
    """Load the records of a store; none if it is damaged or from another version."""
    try:
        table = json.loads(read_with_digest(path) or b"")
        if table["version"] != VERSION:
            return {}
        records = {name: FileRecord(*row) for name, row in table["files"].items()}
        for name, record in records.items():
            left, right = ((tuple(low), tuple(high)) for low, high in record.halves)
            records[name] = record._replace(halves=(left, right))
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


def _scan(source: Source, stamp: Stamp, options: ReadOptions, old: FileRecord | None) -> FileRecord:
    """Read a file, and decode it unless its content is known."""
    if isinstance(stamp, str):
        return FileRecord(0, 0, "", stamp)
    length = source.length if source.member else stamp[0]
    if length > 32 * options.max_pixels:  # 4 channels of float64 for each pixel
        return FileRecord(*stamp, "", f"is a file of {length / 1e9:.0f} GB, too large for an image")
    try:
        data = source.read()
    except ArchiveChanged:
        raise
    except Exception as error:  # archives raise errors of every kind, and bytes can be anything
        return FileRecord(*stamp, "", f"cannot be read: {_reason(error)}")
    digest = _digest(data)
    if old and old.sha256 == digest:
        return old._replace(size=stamp[0], mtime_ns=stamp[1])
    try:
        return _decode(data, source, FileRecord(*stamp, digest), options)
    except UserError as error:  # its message begins with the file's name
        if isinstance(error.__context__, MemoryError):  # not a property of the file: not kept
            digest = ""
        return FileRecord(*stamp, digest, str(error).removeprefix(f"{source} "))


def _decode(data: bytes, source: Source, empty: FileRecord, options: ReadOptions) -> FileRecord:
    pixels, header, tags = decode(data, source, *options, fit=False)
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
    )


def ranges(pixels: Pixels) -> tuple[Range, Range]:
    """Return the value ranges of the left and of the right half."""
    height, width, channels = pixels.shape
    lows = highs = np.ma.getdata(pixels)
    if (mask := mask_of(pixels)) is not None:
        lows, highs = (np.where(mask, end, lows.astype(np.float64)) for end in (np.inf, -np.inf))
    # Down the columns first: whole rows at a time are 200 times as fast as three values at a time.
    flat = height, width * channels
    lows = np.minimum.reduce(lows.reshape(flat), axis=0).reshape(width, channels)
    highs = np.maximum.reduce(highs.reshape(flat), axis=0).reshape(width, channels)
    middle = width // 2
    # If there is a single column, it is both halves.
    left, right = (
        (tuple(lows[cut].min(axis=0).tolist()), tuple(highs[cut].max(axis=0).tolist()))
        for cut in (slice(middle or 1), slice(middle, None))
    )
    return left, right


def _digest(data: bytes | str) -> str:
    data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return hashlib.sha256(data).hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(error) or type(error).__name__
