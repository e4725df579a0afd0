"""Manifests: .csv or .jsonl files that list the images of A and B and their pairs.

The columns are `a`, `b` and, optionally, `split`, `group`, `mask_a` and `mask_b`; paths are
relative to the manifest.
"""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError
from ...files import is_utf16
from ...images.sources import Source, printable
from .pairing import Masks, SplitIndex, in_order
from .roles import SPLITS, split_of

Fields = dict[str, str]
OPTIONAL = ("split", "group", "mask_a", "mask_b")
"""Columns that a manifest may have besides `a` and `b`."""


@dataclass(frozen=True)
class ManifestRow:
    """A line; `a` or `b` may be missing."""

    split: str
    a: Source | None
    b: Source | None
    name: str
    """The first path of the line, as written in the manifest."""
    group: str = ""
    mask_a: Source | None = None
    mask_b: Source | None = None


@dataclass(frozen=True)
class Manifest:
    """The lines of a manifest, in order. Every file that they name exists."""

    root: Path
    rows: tuple[ManifestRow, ...]


def is_manifest(path: Path) -> bool:
    """Return whether a path is a manifest, by its ending."""
    return path.suffix.lower() in (".csv", ".jsonl") and path.is_file()


def read_manifest(path: Path, group: str = "group") -> Manifest:
    """Read a manifest.

    Args:
        path: The file.
        group: Name of the column with the group of each line.

    Raises:
        UserError: The manifest has an error; the message contains the line number.
    """
    label = printable(path)
    rows: list[ManifestRow] = []
    problems: list[str] = []
    words: dict[str, str] = {}
    try:
        if is_utf16(path):
            raise ValueError("it is encoded as UTF-16; save it as UTF-8")
        # Names that are not UTF-8 are read as the file system gives them.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            for line, fields in (_csv if path.suffix.lower() == ".csv" else _jsonl)(file):
                rows.append(_row(line, fields, path.parent, words, problems, group))
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise UserError(
            f"the manifest {label} cannot be used: {printable(error)}", path=path
        ) from None
    if problems:
        more = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise UserError(
            f"{len(problems)} of the files that {label} names cannot be used: "
            f"{'; '.join(problems[:10])}{more} (paths are relative to the manifest's folder)",
            path=path,
        )
    return Manifest(path, tuple(rows))


def _row(
    line: int, fields: Fields, folder: Path, words: Fields, problems: list[str], group: str
) -> ManifestRow:
    """Check the fields of a line; `words`: the spelling of each split in earlier lines."""
    if group != "group" and not fields.get(group):
        raise ValueError(f"line {line} has no value in the column {group!r}")
    word = fields.get("split", "train")
    split = split_of(word)
    if not split:
        raise ValueError(f"line {line}: the split is one of {', '.join(SPLITS)}, not {word!r}")
    if words.setdefault(split, word) != word:
        raise ValueError(
            f"line {line} has the split {word!r}, earlier lines {words[split]!r}; use one spelling"
        )
    if not (fields["a"] or fields["b"]):
        raise ValueError(f"line {line} names no image")
    masks = fields.get("mask_a"), fields.get("mask_b")
    for name in filter(None, (fields["a"], fields["b"], *masks)):
        if problem := _problem(folder / name):
            problems.append(f"line {line}: {printable(name)} {problem}")
    a, b = (Source(folder / fields[side]) if fields[side] else None for side in "ab")
    mask_a, mask_b = (Source(folder / mask) if mask else None for mask in masks)
    name = fields["a"] or fields["b"]
    return ManifestRow(split, a, b, name, fields.get(group, ""), mask_a, mask_b)


def index_manifest(manifest: Manifest, split: str, paired: bool, layout: str) -> SplitIndex | None:
    """Return the images of a split, or None if no line belongs to it.

    Raises:
        UserError: There is nothing to train on, no pair, or no image of a domain.
    """
    label, name = printable(manifest.root), printable(manifest.root.name)
    if layout not in ("auto", "photos", "side-by-side"):
        raise UserError(
            f"the manifest {label} defines the pairs itself; leave data.layout at auto, not "
            f"{layout} (or set side-by-side, if A and B are the halves of each file)",
            option="data.layout",
        )
    rows = [row for row in manifest.rows if row.split == split]
    if layout == "side-by-side" and (two := [r for r in rows if r.a and r.b and r.a != r.b]):
        raise UserError(
            f"{two[0].name} in the manifest {label} has another file as its partner; with "
            "data.layout side-by-side, a line names one file",
            option="data.layout",
            path=manifest.root,
        )
    if not rows and split == "train":
        raise UserError(f"the manifest {label} lists nothing to train on", path=manifest.root)
    if not rows:
        return None
    names = _names(rows)
    groups = {s: row.group for row in rows for s in (row.a, row.b) if s and row.group}
    # An image that is in several pairs is one image of its domain without pairs.
    a = tuple(dict.fromkeys(row.a for row in rows if row.a))
    b = tuple(dict.fromkeys(row.b for row in rows if row.b))
    pairs = [(row.a, row.b) for row in rows if row.a and row.b]
    unmatched: dict[Source, str] = {}
    if layout == "photos":
        text = f"photos listed in {name}, each both A and B"
        a = b = tuple(dict.fromkeys(a + b))
    elif layout == "side-by-side":
        text = f"side-by-side files listed in {name}"
        a = b = tuple(dict.fromkeys(a + b))
    elif not paired and a and b:
        text = f"images listed in {name}"
    elif not pairs or not paired:
        what = "pair, a line with both a and b" if paired else f"image of {'B' if a else 'A'}"
        raise UserError(f"the manifest {label} lists no {what}, for {split}", path=manifest.root)
    else:
        text = f"pairs listed in {name}"
        a, b = zip(*pairs, strict=True)
        single = {row.a: "a" for row in rows if row.a and not row.b}
        single |= {row.b: "b" for row in rows if row.b and not row.a}
        unmatched = {source: single[source] for source in in_order(single)}
    masks = _masks(rows, layout in ("photos", "side-by-side"))
    return SplitIndex(text, a, b, layout == "side-by-side", unmatched, groups, names, masks)


def _masks(rows: Iterable[ManifestRow], one_file: bool) -> Masks:
    """Return the masks of the images; `one_file`: whether the file of a line is both A and B.

    Raises UserError if lines give an image several masks.
    """
    masks: Masks = {}
    for row in rows:
        one = row.a or row.b if one_file else None
        for domain, source, mask in (
            ("a", one or row.a, row.mask_a),
            ("b", one or row.b, row.mask_b),
        ):
            if source and mask and masks.setdefault((domain, source), mask) != mask:
                raise UserError(
                    f"lines of the manifest give {source} two masks: "
                    f"{masks[domain, source]} and {mask}",
                    path=source.path,
                )
    return masks


def _names(rows: Iterable[ManifestRow]) -> dict[Source, str]:
    """Return the name of each image; lines with a common image have one name.

    So that no image is both held out, which is decided by name, and trained on.
    """
    names: dict[Source, str] = {}
    parent: dict[Source, Source] = {}

    def top(source: Source) -> Source:
        while (above := parent.setdefault(source, source)) != source:
            parent[source] = source = parent[above]
        return source

    for row in rows:
        for source in filter(None, (row.a, row.b)):
            names.setdefault(source, row.name)
        if row.a and row.b:
            parent[top(row.b)] = top(row.a)
    return {source: names[top(source)] for source in names}


def _csv(file: Iterator[str]) -> Iterator[tuple[int, Fields]]:
    reader = csv.reader(file, skipinitialspace=True, strict=True)
    header = [name.strip() for name in next(reader, [])]
    counts = {name: header.count(name) for name in ("a", "b", *OPTIONAL)}
    if min(counts["a"], counts["b"]) < 1 or max(counts.values()) > 1:
        raise ValueError(
            "its first line must name the columns a and b, and may name "
            f"{', '.join(OPTIONAL[:-1])} and {OPTIONAL[-1]}, not {header}"
        )
    for values in filter(None, reader):
        if len(values) != len(header):
            raise ValueError(
                f"line {reader.line_num} has {len(values)} fields, not {len(header)} (put names "
                "with a comma in quotation marks)"
            )
        yield reader.line_num, dict(zip(header, values, strict=True))


def _jsonl(file: Iterator[str]) -> Iterator[tuple[int, Fields]]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise ValueError(f"line {line} is not JSON ({error})") from None
        if not isinstance(fields, dict) or not fields.keys() & {"a", "b"}:
            raise ValueError(f'line {line} is not like {{"a": "1.png", "b": "2.png"}}')
        known = {name: fields.get(name) or "" for name in ("a", "b")}
        known |= {name: fields[name] for name in OPTIONAL if fields.get(name) is not None}
        for name, value in known.items():
            if not isinstance(value, str):
                raise ValueError(f"line {line}: {name} is {value!r}, not text")
        yield line, {n: str(v) for n, v in fields.items() if v is not None} | known


def _problem(path: Path) -> str:
    """Return why a path cannot be an image file, or an empty text."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"is not accessible ({error})"
    return "" if stat.S_ISREG(mode) else "is not a file"
