"""What is known of each file of a data set, and the files outside of it that this is kept in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL

from ... import __version__
from ...errors import UserError
from ...files import read_with_digest, write_with_digest

Range = tuple[tuple[float, ...], tuple[float, ...]]
"""The least and the greatest value, band by band."""
# What another version read may differ. The number goes up when the readers change between releases.
MADE_BY = [2, __version__, np.__version__, PIL.__version__]


class Options(NamedTuple):
    """How images are read: surveys that read in another way are kept apart."""

    pages: str
    indices: bool
    most: int
    channels: int = 0
    """Bands of the domain, by which the axes of some TIFFs are read; 0 if it has none."""
    nodata: str = "tag"
    """The domain's no-data value, as its settings have it."""


class Marks(NamedTuple):
    """What a file declares besides its pixels, and what its values suggest."""

    nodata: str = ""
    """Its GDAL tag 42113."""
    suspected: float | None = None
    """An undeclared value that may mean no data."""
    icc: str = ""
    metadata: str = ""
    """SHA-256 of the ICC profile, and of GDAL tag 42112; empty if there is none."""


NO_MARKS = Marks()


@dataclass(frozen=True, slots=True)
class Record:
    """What a full decode told of one file, with the pixels upright and in the type they are read.

    `error` says why it cannot be used, without its name ("is damaged ..."); then the rest is empty.
    Ranges are of the values with data: from infinity to minus infinity in a band that has none.
    `halves`: the ranges of the left and the right half, for files with A and B side by side.
    `sha256` is empty where not even the bytes could be read.
    """

    size: int
    mtime_ns: int
    sha256: str
    error: str = ""
    height: int = 0
    width: int = 0
    bands: int = 0
    dtype: str = ""
    mode: str = ""
    pages: int = 1
    alpha: bool = False
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    halves: tuple[Range, Range] = (((), ()), ((), ()))
    marks: Marks = NO_MARKS


def joined(left: Range, right: Range) -> Range:
    """The range of both together."""
    return tuple(map(min, left[0], right[0])), tuple(map(max, left[1], right[1]))


def kept(store: Path, root: str, options: Options) -> dict[str, Record]:
    """The records kept of what lies in `root`, by name; none where they are damaged or foreign."""
    try:
        table = json.loads(read_with_digest(_file(store, root, options)) or b"")
        if table["made_by"] != MADE_BY or [table["root"], *table["options"]] != [root, *options]:
            return {}
        kinds = [(*kind, Marks(*marks)) for *kind, marks in table["kinds"]]
        return {name: _record(row, kinds) for name, row in table["files"].items()}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}


def keep(store: Path, root: str, options: Options, records: Mapping[str, Record]) -> None:
    """Keep the records of what lies in `root`, in the place of those before; if it can't, nothing
    is said: it costs time, not correctness."""
    kinds: dict[tuple[Any, ...], int] = {}
    files = {name: _row(record, kinds) for name, record in records.items()}
    table = {
        "made_by": MADE_BY,
        "root": root,
        "options": options,
        "kinds": list(kinds),
        "files": files,
    }
    content = json.dumps(table, separators=(",", ":")).encode("ascii")
    with suppress(UserError):
        write_with_digest(_file(store, root, options), content)


def _file(store: Path, root: str, options: Options) -> Path:
    key = json.dumps([root, *options]).encode()
    return store / "surveys" / f"{hashlib.sha256(key).hexdigest()[:32]}.json"


def _row(record: Record, kinds: dict[tuple[Any, ...], int]) -> list[Any]:
    """[size, time, hash, error], or [size, time, hash, number of its kind, four ranges in one]."""
    row: list[Any] = [record.size, record.mtime_ns, record.sha256]
    if record.error:
        return [*row, record.error]
    kind = (
        record.height,
        record.width,
        record.bands,
        record.dtype,
        record.mode,
        record.pages,
        record.alpha,
        record.marks,
    )
    values = [value for half in record.halves for side in half for value in side]
    return [*row, kinds.setdefault(kind, len(kinds)), values]


def _record(row: list[Any], kinds: list[tuple[Any, ...]]) -> Record:
    size, mtime_ns, digest, number, *rest = row
    if isinstance(number, str):
        return Record(size, mtime_ns, digest, number)
    values = rest[0]
    height, width, bands, dtype, mode, pages, alpha, marks = kinds[number]
    parts = [tuple(values[i * bands : (i + 1) * bands]) for i in range(4)]
    left, right = (parts[0], parts[1]), (parts[2], parts[3])
    low, high = joined(left, right)
    return Record(
        size,
        mtime_ns,
        digest,
        "",
        height,
        width,
        bands,
        dtype,
        mode,
        pages,
        alpha,
        low,
        high,
        (left, right),
        marks,
    )
