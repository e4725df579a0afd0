"""log.jsonl of a run: one flat JSON object per line.

Nested lines of earlier versions are converted on reading. Every entry has the keys of `COMMON` and
values with dotted names such as `loss.g_l1`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from .config.compatibility import flat_entry

Entry = dict[str, Any]
Kind = Literal["train", "validation", "diagnostic"]
NAME = "log.jsonl"
KINDS: tuple[Kind, ...] = get_args(Kind)
COMMON = ("kind", "time", "step", "epoch", "images", "lr")
MOST_IMAGES = 1e15  # a larger number is no number of images
REPEATED = ("diagnostic.name", "diagnostic.of", "diagnostic.state")  # entries of one step differ


def parse(line: str | bytes) -> Entry | None:
    """Return the entry of a line; None if it is none, such as a line that a crash cut."""
    try:
        entry = json.loads(line)
        if isinstance(entry, dict) and "kind" not in entry:
            entry = flat_entry(entry)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    images = entry.get("images")
    if isinstance(images, bool) or not isinstance(images, int | float):
        return None
    return entry if 0 <= images < MOST_IMAGES else None


def read(path: Path) -> list[Entry]:
    """Return the entries of a log.jsonl, without those that a resumed run wrote again.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return latest(filter(None, map(parse, file)))


def latest(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries in order, each without the earlier ones of later or the same images."""
    found: list[Entry] = []
    for entry in entries:
        while found and found[-1]["images"] > entry["images"]:
            found.pop()
        same = len(found)
        while same and found[same - 1]["images"] == entry["images"]:
            same -= 1
        found[same:] = [one for one in found[same:] if _identity(one) != _identity(entry)]
        found.append(entry)
    return found


def _identity(entry: Entry) -> list[Any]:
    return [entry["kind"], *(entry.get(name) for name in REPEATED)]


def group(entry: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the values whose names begin with `prefix.`, by the rest of their names."""
    return {name: entry[key] for name, key in _names(prefix, tuple(entry))}


@lru_cache
def _names(prefix: str, keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """Most entries have the same keys, so they are searched once."""
    start = f"{prefix}."
    return [(key.removeprefix(start), key) for key in keys if key.startswith(start)]


def dotted(prefix: str, values: Mapping[str, Any]) -> Entry:
    """Return values with names that begin with `prefix.`."""
    return {f"{prefix}.{name}": value for name, value in values.items()}
