"""A manifest: a .csv or .jsonl file whose lines say which images are A and B and make a pair.

Its columns are `a`, `b` and, optionally, `split` and `group`; paths start at the manifest's folder.
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
from .found import Found
from .pairing import in_order
from .roles import SPLITS, split_of

Fields = dict[str, str]


@dataclass(frozen=True)
class Row:
    """One line; one of `a` and `b` may be missing."""

    split: str
    a: Source | None
    b: Source | None
    name: str
    """The first path of the line, as it is written there."""
    group: str = ""


@dataclass(frozen=True)
class Manifest:
    """A manifest's lines, in their order. Every file they name is there."""

    path: Path
    rows: tuple[Row, ...]


def is_manifest(path: Path) -> bool:
    """Whether a path is a manifest, by its ending."""
    return path.suffix.lower() in (".csv", ".jsonl") and path.is_file()


def read_manifest(path: Path) -> Manifest:
    """Read a manifest. Raises UserError, with line numbers, where it is wrong."""
    shown = printable(str(path))
    rows, faults, words = [], [], dict[str, str]()
    try:
        if is_utf16(path):
            raise ValueError("it is a UTF-16 text; save it as UTF-8")
        # Names that are no UTF-8 come through as the file system gives them.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            lines = _csv(file) if path.suffix.lower() == ".csv" else _jsonl(file)
            for line, fields in lines:
                word = fields.get("split", "train")
                split = split_of(word)
                if not split:
                    raise ValueError(
                        f"line {line} has the split {word!r}; there are {', '.join(SPLITS)}"
                    )
                if words.setdefault(split, word) != word:
                    raise ValueError(
                        f"line {line} has the split {word!r}, lines before it {words[split]!r}; "
                        "spell it in one way"
                    )
                if not (fields["a"] or fields["b"]):
                    raise ValueError(f"line {line} names no image")
                row = []
                for name in (fields["a"], fields["b"]):
                    if name and (fault := _fault(path.parent / name)):
                        faults.append(f"line {line}: {printable(name)} {fault}")
                    row.append(Source(path.parent / name) if name else None)
                name, group = fields["a"] or fields["b"], fields.get("group", "")
                rows.append(Row(split, row[0], row[1], name, group))
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise UserError(f"the manifest {shown} can't be used: {printable(str(error))}") from None
    if faults:
        more = f"; and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise UserError(
            f"{len(faults)} of the files that {shown} names can't be used: "
            f"{'; '.join(faults[:10])}{more} (paths start at the manifest's folder)"
        )
    return Manifest(path, tuple(rows))


def listed(manifest: Manifest, split: str, paired: bool, layout: str) -> Found | None:
    """Return the images of a split, or None if no line is of it.

    Raises:
        UserError: If there is nothing to train on, or no pair or no image of a domain.
    """
    shown, name = printable(str(manifest.path)), printable(manifest.path.name)
    if layout not in ("auto", "photos"):
        raise UserError(
            f"the manifest {shown} says itself what belongs together; leave data.layout at "
            f"auto, not {layout}",
            option="data.layout",
        )
    rows = [row for row in manifest.rows if row.split == split]
    names = _names(rows)
    groups = {s: row.group for row in rows for s in (row.a, row.b) if s and row.group}
    if not rows and split == "train":
        raise UserError(f"the manifest {shown} lists nothing to train on")
    if not rows:
        return None
    # An image may stand in many pairs, but is one image of its domain.
    a = tuple(dict.fromkeys(row.a for row in rows if row.a))
    b = tuple(dict.fromkeys(row.b for row in rows if row.b))
    if layout == "photos":
        photos = tuple(dict.fromkeys(a + b))
        layout = f"photos listed in {name}, each both A and B"
        return Found(layout, photos, photos, groups=groups, names=names)
    if not paired and a and b:
        return Found(f"images listed in {name}", a, b, groups=groups, names=names)
    pairs = [(row.a, row.b) for row in rows if row.a and row.b]
    if not pairs or not paired:
        what = "pair, a line with both a and b" if paired else f"image of {'B' if a else 'A'}"
        raise UserError(f"the manifest {shown} lists no {what}, for {split}")
    single = [row for row in rows if not (row.a and row.b)]
    domains = {row.a: "a" for row in single if row.a} | {row.b: "b" for row in single if row.b}
    first, second = zip(*pairs, strict=True)
    return Found(
        f"pairs listed in {name}", first, second, alone=tuple(in_order(domains)),
        domains=domains, groups=groups, names=names,
    )  # fmt: skip


def _names(rows: Iterable[Row]) -> dict[Source, str]:
    """The name of each image's line; lines that share an image, at once or over others, share one.

    What is held out by name then has no image in common with the rest.
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
    twice = header.count("split") > 1 or header.count("group") > 1
    if header.count("a") != 1 or header.count("b") != 1 or twice:
        raise ValueError(
            "its first line must name columns a and b, and may name split and group; it is "
            f"{header}"
        )
    for values in reader:
        if values and len(values) != len(header):
            raise ValueError(
                f"line {reader.line_num} has {len(values)} fields, not {len(header)} (a name with "
                "a comma stands in quotation marks)"
            )
        if values:
            yield reader.line_num, dict(zip(header, values, strict=True))


def _jsonl(file: Iterator[str]) -> Iterator[tuple[int, Fields]]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise ValueError(f"line {line} is no JSON ({error})") from None
        if not isinstance(fields, dict) or not fields.keys() & {"a", "b"}:
            raise ValueError(f'line {line} is not like {{"a": "1.png", "b": "2.png"}}')
        known = {name: fields.get(name) or "" for name in ("a", "b")}
        known |= {name: fields[name] for name in ("split", "group") if fields.get(name) is not None}
        for name, value in known.items():
            if not isinstance(value, str):
                raise ValueError(f"line {line}: {name} is {value!r}, not text")
        yield line, known


def _fault(path: Path) -> str:
    """Why a path can't be an image's, from its name and kind; or nothing."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        return "is not there" if missing else f"is out of reach ({error})"
    if not stat.S_ISREG(mode):
        return "is no file"
    return ""  # whatever its ending: a file that is named is read by its content
