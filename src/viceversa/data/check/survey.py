"""What every file of a data set holds, from decoding it once; kept outside the data folder.

A second survey decodes only what is new or changed: a file is known by its path, size and time.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ...errors import UserError
from ...files import user_cache
from ...images import MOST_PIXELS, Pixels, Source, decode
from ...images.nodata import mask_of, parse_nodata, suspected_nodata
from ...images.sources import ArchiveChanged, printable
from .records import Marks, Options, Range, Record, joined, keep, kept

__all__ = ["Progress", "Record", "Store", "survey"]

Progress = Callable[[int, int], None]
"""Is told how many files are done, and of how many."""
Store = Path | Literal["user"] | None
"""The folder in which surveys are kept: a given one, the user's cache, or none."""

PART = 8  # files that a thread takes at once: few, so that the progress moves
MOST_THREADS = 16  # each may hold a large image


def survey(
    sources: Iterable[Source],
    *,
    pages: str = "refuse",
    indices: bool = False,
    most: int = MOST_PIXELS,
    verify: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    store: Store = "user",
    root: Path | None = None,
    channels: int = 0,
    nodata: str = "tag",
) -> dict[Source, Record]:
    """A record of each source, in order; `pages`, `indices`, `most` and `channels` (0 for none) as
    `images.read` has them, `nodata` as a domain's settings.

    `verify` hashes every file anew, and finds those that changed although size and time did not.
    `root` is what the sources lie in: a folder, an archive or a manifest. A store that is damaged
    or cannot be written is no error; then all is decoded again the next time.
    """
    options = Options(pages, indices, most, channels, nodata)
    wanted = list(dict.fromkeys(sources))
    folder = user_cache() if store == "user" else store
    place = os.path.abspath(root or _above(wanted))
    known = kept(folder, place, options) if folder else {}
    names = _names(wanted, str(root) if root else place)
    stamps = _stamps(wanted)
    records: dict[Source, Record] = {}
    due: list[tuple[Source, Record | None]] = []
    for source, name in zip(wanted, names, strict=True):
        old = known.get(name)
        stamp = stamps[source.path]
        if old and not verify and (old.size, old.mtime_ns) == stamp:
            records[source] = old
        else:
            due.append((source, old))
    if progress:
        progress(len(records), len(wanted))
    made: dict[Source, Record] = {}
    try:
        for record, (source, _) in zip(_looked_at(due, stamps, options, threads), due, strict=True):
            made[source] = record
            if progress:
                progress(len(records) + len(made), len(wanted))
    finally:  # what is known is kept, if one interrupts a long survey too
        records |= made
        new = {n: records[s] for s, n in zip(wanted, names, strict=True) if s in records}
        if folder and (made or len(new) != len(known)):
            keep(folder, place, options, {n: r for n, r in new.items() if r.sha256})
    return {source: records[source] for source in wanted}


def _above(sources: Sequence[Source]) -> str:
    """The folder that holds all sources."""
    return os.path.commonpath({os.path.abspath(s.path.parent) for s in sources} or {os.curdir})


def _names(sources: Sequence[Source], root: str) -> list[str]:
    """What each source is called in the store: from the root on, where it lies below it."""
    start = root if root.endswith(os.sep) else root + os.sep
    names = []
    for source in sources:
        path = str(source.path)
        if path.startswith(start):
            path = path[len(start) :]
        elif path != root:
            path = os.path.abspath(path)
        else:
            path = ""
        names.append(f"{path}\0{source.member}" if source.member else path)
    return names


def _stamps(sources: Sequence[Source]) -> dict[Path, tuple[int, int] | str]:
    """(size, time) of each file, or why it is none that could be read: it is not opened then."""
    stamps: dict[Path, tuple[int, int] | str] = {}
    for source in sources:
        if source.path in stamps:
            continue
        try:
            status = os.stat(source.path)
            regular = stat.S_ISREG(status.st_mode)
            stamps[source.path] = (
                (status.st_size, status.st_mtime_ns) if regular else "is no plain file"
            )
        except (OSError, ValueError) as error:
            stamps[source.path] = f"cannot be read: {_why(error)}"
    return stamps


def _looked_at(
    due: Sequence[tuple[Source, Record | None]],
    stamps: dict[Path, Any],
    options: Options,
    threads: int | None,
) -> Iterable[Record]:
    """The record of each, in order. Decoders, hashes and minima leave the interpreter's lock."""

    def look_at(part: Sequence[tuple[Source, Record | None]]) -> list[Record]:
        return [_look(source, stamps[source.path], options, old) for source, old in part]

    count = threads or min(os.cpu_count() or 1, MOST_THREADS)
    pool = ThreadPoolExecutor(count)
    try:
        with _memory_kept(count):
            for part in pool.map(look_at, [due[i : i + PART] for i in range(0, len(due), PART)]):
                yield from part
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _memory_kept(count: int) -> Iterator[None]:
    """Let Pillow take the memory of one image for the next, instead of giving it back between.

    Threads that ask the system for memory wait for each other: half of all time went there.
    """
    pillow = Image.core  # type: ignore[attr-defined]  # its allocator is documented, not typed
    before = pillow.get_blocks_max()
    pillow.set_blocks_max(max(before, count))
    try:
        yield
    finally:
        pillow.set_blocks_max(before)


def _look(
    source: Source, stamp: tuple[int, int] | str, options: Options, old: Record | None
) -> Record:
    """Read a file and decode it, unless it holds what it held before."""
    if isinstance(stamp, str):
        return Record(0, 0, "", stamp)
    length = source.length if source.member else stamp[0]
    if length > 32 * options.most:  # 4 bands of float64 for each pixel, and then some
        return Record(*stamp, "", f"is a file of {length / 1e9:.0f} GB, too large to be an image")
    try:
        data = source.read()
    except ArchiveChanged:
        raise
    except Exception as error:  # archives raise of every family, and bytes can be anything
        return Record(*stamp, "", f"cannot be read: {_why(error)}")
    digest = hashlib.sha256(data).hexdigest()
    if old and old.sha256 == digest:
        return replace(old, size=stamp[0], mtime_ns=stamp[1])
    return _decoded(data, source, Record(*stamp, digest), options)


def _decoded(data: bytes, source: Source, empty: Record, options: Options) -> Record:
    try:
        decoded = decode(
            data,
            source,
            options.channels or None,
            options.pages,
            options.indices,
            options.most,
            parse_nodata(options.nodata),
            fit=False,
        )
    except UserError as error:  # it begins with the file's name
        if isinstance(error.__context__, MemoryError):  # not the file's fault: it is not kept
            empty = replace(empty, sha256="")
        return replace(empty, error=str(error).removeprefix(f"{source} "))
    pixels, header, tags = decoded
    left, right = ranges(pixels)
    low, high = joined(left, right)
    declared = "" if parse_nodata(options.nodata).for_tag(tags.nodata) is None else tags.nodata
    marks = Marks(
        declared,
        suspected_nodata(pixels),
        *map(_digest, (tags.icc, tags.metadata.encode("utf-8", "surrogateescape"))),
    )
    return replace(
        empty,
        height=header.height,
        width=header.width,
        bands=pixels.shape[2],
        dtype=header.dtype,
        mode=header.mode,
        pages=header.pages,
        alpha=header.alpha,
        low=low,
        high=high,
        halves=(left, right),
        marks=marks,
    )


def ranges(pixels: Pixels) -> tuple[Range, Range]:
    """The least and greatest values of the left and of the right half, band by band."""
    height, width, bands = pixels.shape
    lows = highs = np.ma.getdata(pixels)
    if (mask := mask_of(pixels)) is not None:
        lows, highs = (np.where(mask, end, lows.astype(np.float64)) for end in (np.inf, -np.inf))
    # Down the columns first: whole rows at a time are 200 times as fast as three values at a time.
    flat = height, width * bands
    lows = np.minimum.reduce(lows.reshape(flat), axis=0).reshape(width, bands)
    highs = np.maximum.reduce(highs.reshape(flat), axis=0).reshape(width, bands)
    middle = width // 2
    cuts = (slice(middle or 1), slice(middle, None))  # of a single column both halves are it
    left, right = (
        (tuple(lows[cut].min(axis=0).tolist()), tuple(highs[cut].max(axis=0).tolist()))
        for cut in cuts
    )
    return left, right


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if data else ""


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(str(error)) or type(error).__name__
