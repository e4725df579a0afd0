"""Values of a log.jsonl as columns. Only the lines appended since the last call are read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .. import run_log

Column = NDArray[np.float64]
Rows = dict[str, Column]
"""Columns of one length by name; NaN where there is no finite number."""
BLOCK = 1 << 20  # bytes that are read and parsed at once
VALUES = ("images", "time", "epoch", "lr", "images_per_s")
GROUPS = ("loss.", "grad_norm.")


class LogColumns:
    """Contents of a log.jsonl. Lines that a resumed run wrote again are left out.

    Attributes:
        rows: A column for each value of the training lines; `images` increases.
        others: All other entries, in order.
    """

    def __init__(self, path: Path):
        self.path = path
        self.rows: Rows = {}
        self.others: list[run_log.Entry] = []
        self._file, self._end = -1, 0  # inode, and the end of the last complete line

    def refresh(self) -> None:
        """Read what was appended, or the whole file if it was replaced."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._file or status.st_size < self._end:
                    self.rows, self.others = {}, []
                    self._file, self._end = status.st_ino, 0
                file.seek(self._end)
                self._append(file)
        except OSError:
            self.rows, self.others = {}, []
            self._file, self._end = -1, 0

    def __len__(self) -> int:
        """Return the number of training lines."""
        return len(self.column("images"))

    def column(self, name: str) -> Column:
        """Return the values of the training lines; NaN where there is no finite number."""
        return self.rows.get(name, np.full(len(self.rows.get("images", ())), np.nan))

    def last(self, name: str) -> float:
        """Return the last value of the training lines; 0 if there is none."""
        return float(np.nan_to_num(self.column(name)[-1:]).sum())

    def names(self, prefix: str) -> list[str]:
        """Return the names of the columns that begin with `prefix.`, without it."""
        start = f"{prefix}."
        return [name.removeprefix(start) for name in self.rows if name.startswith(start)]

    def _append(self, file: BinaryIO) -> None:
        """Read entries to the end of a file, and remove those that they replace."""
        images: list[Column] = []
        trained: list[NDArray[np.bool_]] = []
        parts: list[Rows] = []
        others: list[run_log.Entry] = []
        while lines := file.readlines(BLOCK):
            if lines[-1].endswith(b"\n"):
                self._end = file.tell()
            else:  # read again once it is complete; its entry then replaces this one
                self._end = file.tell() - len(lines[-1])
            entries, at = parse(lines)
            train = [entry for entry in entries if entry["kind"] == "train"]
            images.append(at)
            if len(train) == len(entries):
                trained.append(np.ones(len(entries), bool))
            else:
                trained.append(np.array([entry["kind"] == "train" for entry in entries], bool))
                others += (entry for entry in entries if entry["kind"] != "train")
            parts += _rows(train)
        if not sum(map(len, images)):
            return
        every, is_train = np.concatenate(images), np.concatenate(trained)
        # An entry replaces all earlier ones of more images.
        least = np.minimum.accumulate(every[::-1])[::-1]
        kept = every <= np.append(least[1:], math.inf)
        kept_others = [one for one, keep in zip(others, kept[~is_train], strict=True) if keep]
        before = [one for one in self.others if one["images"] <= least[0]]
        self.others = run_log.latest([*before, *kept_others])
        added = _joined(parts, kept[is_train])
        old = self.column("images")
        count = int(np.searchsorted(old, least[0], "right"))
        if added and len(added["images"]):
            count = min(count, int(np.searchsorted(old, added["images"][0], "left")))
        self.rows = _joined([{name: of[:count] for name, of in self.rows.items()}, added])


def parse(lines: Sequence[bytes]) -> tuple[list[run_log.Entry], Column]:
    """Return the entries of lines, without invalid ones, and their images processed.

    Lines are parsed together, which takes less time; if one is invalid, each alone.
    """
    try:
        entries = json.loads("[" + b",".join(lines).decode("utf-8-sig") + "]")
        values = [entry["images"] for entry in entries if "kind" in entry]
        images = np.array(values, float)
        valid = len(values) == len(lines) and set(map(type, values)) <= {int, float}
        if valid and ((images >= 0) & (images < run_log.MOST_IMAGES)).all():
            return entries, images
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        pass
    found = (run_log.parse(line.decode("utf-8-sig", "replace")) for line in lines)
    entries = [entry for entry in found if entry is not None]
    return entries, np.array([entry["images"] for entry in entries], float)


def _rows(entries: Iterable[run_log.Entry]) -> list[Rows]:
    """Return entries as columns, for each series of entries with the same names."""
    parts = []
    for names, same in groupby(entries, key=tuple):
        columns = zip(*map(dict.values, same), strict=True)
        named = zip(names, columns, strict=True)
        parts.append({name: numbers(of) for name, of in named if name.startswith(GROUPS + VALUES)})
    return parts


def numbers(values: Sequence[Any]) -> Column:
    """Return values as numbers; NaN for everything else, and for infinite ones."""
    if set(map(type, values)) <= {int, float, type(None)}:
        try:
            column = np.array(values, float)
        except OverflowError:
            pass
        else:
            column[~np.isfinite(column)] = np.nan
            return column
    return np.array([math.nan if (n := number_or_none(v)) is None else n for v in values], float)


def number_or_none(value: Any) -> float | None:
    """Return a finite number, or None if the value is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _joined(parts: Sequence[Rows], kept: NDArray[np.bool_] | None = None) -> Rows:
    """Return rows one after another, with NaN where a part has no such column.

    `kept`: the rows to keep. Of rows with the same images, the last one is kept.
    """
    parts = [part for part in parts if part]
    names = dict.fromkeys(name for part in parts for name in part)
    lengths = [len(part["images"]) for part in parts]
    rows = {
        name: np.concatenate(
            [
                part.get(name, np.full(length, np.nan))
                for part, length in zip(parts, lengths, strict=True)
            ]
        )
        for name in names
    }
    if kept is not None and rows:
        images = rows["images"][kept]
        last = np.diff(images, append=math.inf) > 0
        rows = {name: of[kept][last] for name, of in rows.items()}
    return rows
