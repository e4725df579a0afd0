"""Result of a check: records of all files, issues, and the splits that can be used."""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from ...errors import UserError
from ...fields import counted
from ...images import Pixels, Source
from ...images.domain import DomainConfig
from ...images.loading import Half, half_of, load
from ...images.sources import printable
from ..config import DataConfig
from ..index import FileTree, Manifest, SplitIndex
from .record import FileRecord, Range

Severity = Literal["error", "warning", "note"]
LISTED = 10  # files of an issue that are named
FIRST = 3  # files that a sentence names


@dataclass(frozen=True)
class Issue:
    """A problem of a dataset, or a note on it. An error prevents training."""

    severity: Severity
    text: str
    """A sentence, or a description of the `files`."""
    files: tuple[str, ...] = ()
    """The first ten files, with the reason if it differs between files."""
    total: int = 0
    """Number of all files with the issue."""
    advice: str = ""
    """What to do."""
    skippable: bool = False
    """Whether `data.on_invalid skip` leaves these files out."""
    condition: str = ""
    """Condition under which the detected layout is right: a clause that begins with "if"."""

    def __str__(self) -> str:
        """Return the text and the first files in one sentence."""
        if not self.files:
            return self.text
        return f"{self.text}: {self.total} ({first_few(self.files, self.total)})"


def issue_of(
    severity: Severity,
    text: str,
    files: Iterable[object],
    advice: str = "",
    skippable: bool = False,
) -> Iterator[Issue]:
    """Yield an issue of files if there are any."""
    if names := tuple(map(str, files)):
        yield Issue(severity, text, names[:LISTED], len(names), advice, skippable)


def first_few(texts: Sequence[str], total: int | None = None) -> str:
    """Return the first three of `total` texts and the number of the others."""
    more = (total or len(texts)) - len(texts[:FIRST])
    return ", ".join(texts[:FIRST]) + (f" and {more} more" if more else "")


def shell_quoted(path: str) -> str:
    """Return a path, quoted for a shell if necessary."""
    return shlex.quote(printable(path))


@dataclass(frozen=True)
class DomainFiles:
    """The image files of one domain (`a`, `b`) in one split, with a record of each."""

    split: str
    domain: str
    config: DomainConfig
    side_by_side: bool
    records: Mapping[Source, FileRecord]
    masks: Mapping[Source, Source] = field(default_factory=dict)
    """Mask file of each image that has one."""
    chosen: Half = None
    """Half of each file to read, if it is not that of the domain in side-by-side files."""

    @property
    def half(self) -> Half:
        """Half of each file that is read; None: all of it."""
        return self.chosen or (half_of(self.domain) if self.side_by_side else None)

    def readable(self) -> Iterator[tuple[Source, FileRecord]]:
        """Yield the files that can be decoded."""
        return ((source, record) for source, record in self.records.items() if not record.error)

    def size(self, record: FileRecord) -> tuple[int, int]:
        """Return (height, width) of an image; of side-by-side files, of a half."""
        return record.height, record.width // 2 if self.half else record.width

    def range(self, record: FileRecord) -> Range:
        """Return the value range of an image; of side-by-side files, of the domain's half."""
        return record.halves[self.half == "right"] if self.half else record.range

    def masked(self, record: FileRecord) -> float:
        """Return the fraction of pixels without data; of side-by-side files, of the half."""
        left, right = record.masked
        return record.masked[self.half == "right"] if self.half else (left + right) / 2

    def load(self, source: Source, max_pixels: int) -> Pixels:
        """Load an image as the domain defines it."""
        return load(source, self.config, self.half, max_pixels, mask=self.masks.get(source))


Pair = tuple[Source, Source]


class PairShift(NamedTuple):
    """Estimated shift of image B of a pair against image A, in pixels of A."""

    rows: int
    columns: int
    scale: float
    """Pixels of A in a pixel of the reduced images that were compared."""
    confidence: float

    def distance(self, rows: int, columns: int) -> float:
        """Return the distance from another shift in compared pixels: the larger of both axes."""
        return max(abs(self.rows - rows), abs(self.columns - columns)) / self.scale


@dataclass(frozen=True)
class CheckResult:
    """Result of a check."""

    path: str
    paired: bool
    config: DataConfig
    data: FileTree | Manifest
    splits: Mapping[str, SplitIndex]
    domains: Mapping[str, tuple[DomainFiles, DomainFiles]]
    """Files of A and of B in each split."""
    invalid: Mapping[Source, str]
    """The files that cannot be used, with the reason."""
    issues: tuple[Issue, ...] = ()
    shifts: Mapping[str, Mapping[Pair, PairShift]] = field(default_factory=dict)
    """Shifts of the pairs that were compared in each split."""

    def domain(self, domain: str) -> list[DomainFiles]:
        """Return the files of a domain (`a`, `b`) in each split."""
        return [parts["ab".index(domain)] for parts in self.domains.values()]

    def empty(self, domain: str) -> list[Source]:
        """Return the images of a domain without any data, which are not trained on."""
        return [
            source
            for part in self.domain(domain)
            for source, record in part.readable()
            if all(map(math.isinf, part.range(record)[0]))
        ]

    @property
    def records(self) -> dict[Source, FileRecord]:
        """Record of each file."""
        every = [part for parts in self.domains.values() for part in parts]
        return {source: record for part in every for source, record in part.records.items()}

    @property
    def digests(self) -> dict[Source, str]:
        """SHA-256 of each file; of a file with masks, of it and of them."""
        masks: dict[Source, str] = {}
        for pair in self.domains.values():
            for part in pair:
                for source in part.masks:
                    digest = f"{part.domain} {part.records[source].mask_sha256}"
                    masks[source] = masks.get(source, "") + digest
        digests = {source: record.sha256 for source, record in self.records.items()}
        return digests | {
            source: hashlib.sha256((digests[source] + text).encode()).hexdigest()
            for source, text in masks.items()
        }

    @property
    def errors(self) -> list[Issue]:
        """The issues that prevent training, given `data.on_invalid` and `data.max_invalid`."""
        count, total = self.left_out()
        skip = self.config.on_invalid == "skip" and count <= self.config.max_invalid * total
        return [
            one for one in self.issues if one.severity == "error" and not (skip and one.skippable)
        ]

    def left_out(self) -> tuple[int, int]:
        """Return the number of files that cannot be used or have no partner, and of all files."""
        files = {source for index in self.splits.values() for source in (*index.a, *index.b)}
        unmatched = {s for index in self.splits.values() for s in index.unmatched if self.paired}
        return len(self.invalid.keys() | unmatched), len(files | unmatched)


def usable_splits(
    check: CheckResult, note: Callable[[str], None] = lambda text: None
) -> dict[str, SplitIndex]:
    """Return the files of each split that can be used, and have data.

    If an image of a pair is invalid, the pair is left out; no other pair takes its place.

    Args:
        check: The result of a check.
        note: Called with a sentence on the files that are left out.

    Raises:
        UserError: There are errors, given `data.on_invalid` and `data.max_invalid`.
    """
    if errors := check.errors:
        (count, total), most = check.left_out(), check.config.max_invalid
        texts = [*map(str, errors), f"for details: viceversa check {shell_quoted(check.path)}"]
        if check.config.on_invalid == "skip" and count > most * total:
            text = f"{count} of {total} files cannot be used, more than data.max_invalid {most:g}"
            texts.insert(0, f"{text} allows")
        raise UserError("; ".join(texts), path=check.path)
    texts = [f"{source} {reason}" for source, reason in check.invalid.items()]
    for index in check.splits.values():
        texts += [f"{source} has no partner" for source in index.unmatched]
    empty = {domain: set(check.empty(domain)) for domain in "ab"}
    texts += [f"{source} has no data" for source in sorted(empty["a"] | empty["b"])]
    if not texts:
        return dict(check.splits)
    note(f"left out: {counted(len(texts), 'file')}: {first_few(texts)}")
    without = {domain: check.invalid.keys() | sources for domain, sources in empty.items()}
    return {split: _valid(index, check, without) for split, index in check.splits.items()}


def _valid(index: SplitIndex, check: CheckResult, without: Mapping[str, Set[Source]]) -> SplitIndex:
    a, b = ([source not in without[d] for source in index.files(d)] for d in "ab")
    if check.paired or index.side_by_side:
        a = b = [first and second for first, second in zip(a, b, strict=True)]
    left = index.masked(a, b)
    if not (left.a and left.b):
        raise UserError(f"{index.layout}: every file is invalid or has no data", path=check.path)
    return replace(left, unmatched={})
