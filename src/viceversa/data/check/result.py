"""Result of a check: records of all files, issues, and the splits that can be used."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ...errors import UserError
from ...images import Pixels, Source
from ...images.domain import DomainConfig
from ...images.loading import half_of, load
from ...images.sources import printable
from ..config import DataConfig
from ..index import FileTree, Manifest, SplitIndex
from .scan import FileRecord, Range

Severity = Literal["error", "warning", "note"]
LISTED = 10  # files of an issue that are named
FIRST = 3  # files that a sentence names


@dataclass(frozen=True)
class Issue:
    """One problem of a dataset, or one fact to know. An error prevents training.

    `text` is a sentence, or describes the `files`: the first ten of `total`, with the reason where
    it differs between files. `advice`: what to do. `skippable`: an error of single files, which
    `data.on_invalid skip` leaves out.
    """

    severity: Severity
    text: str
    files: tuple[str, ...] = ()
    total: int = 0
    advice: str = ""
    skippable: bool = False

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
    every = list(files)
    if every:
        names = tuple(map(str, every[:LISTED]))
        yield Issue(severity, text, names, len(every), advice, skippable)


def first_few(texts: Sequence[str], total: int | None = None) -> str:
    """Return the first three texts and the number of the others."""
    more = (len(texts) if total is None else total) - len(texts[:FIRST])
    return ", ".join(texts[:FIRST]) + (f" and {more} more" if more else "")


def shell_quoted(path: str) -> str:
    """Return a path as it is typed in a shell."""
    return shlex.quote(printable(path))


@dataclass(frozen=True)
class DomainFiles:
    """The image files of one domain (`a`, `b`) in one split, with a record of each."""

    split: str
    domain: str
    config: DomainConfig
    side_by_side: bool
    records: Mapping[Source, FileRecord]

    def readable(self) -> Iterator[tuple[Source, FileRecord]]:
        """Yield the files that can be decoded."""
        return ((source, record) for source, record in self.records.items() if not record.error)

    def size(self, record: FileRecord) -> tuple[int, int]:
        """Return (height, width) of an image; of side-by-side files, of a half."""
        return record.height, record.width // 2 if self.side_by_side else record.width

    def range(self, record: FileRecord) -> Range:
        """Return the value range of an image; of side-by-side files, of the domain's half."""
        return record.halves[self.domain == "b"] if self.side_by_side else record.range

    def load(self, source: Source, max_pixels: int) -> Pixels:
        """Load an image as the domain defines it."""
        half = half_of(self.domain) if self.side_by_side else None
        return load(source, self.config, half, max_pixels)


@dataclass(frozen=True)
class CheckResult:
    """Result of a check. `invalid`: the files that cannot be used, with the reason."""

    path: str
    paired: bool
    config: DataConfig
    data: FileTree | Manifest
    splits: Mapping[str, SplitIndex]
    domains: Mapping[str, tuple[DomainFiles, DomainFiles]]
    invalid: Mapping[Source, str]
    issues: tuple[Issue, ...] = ()

    def domain(self, domain: str) -> list[DomainFiles]:
        """Return the files of a domain (`a`, `b`) in each split."""
        return [parts["ab".index(domain)] for parts in self.domains.values()]

    @property
    def records(self) -> dict[Source, FileRecord]:
        """Record of each file."""
        every = [part for parts in self.domains.values() for part in parts]
        return {source: record for part in every for source, record in part.records.items()}

    @property
    def errors(self) -> list[Issue]:
        """The issues that prevent training under the policy for invalid files."""
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
    """Return the files of each split that can be used.

    Of a pair both images are left out, and no other image takes their place.

    Args:
        check: The result of a check.
        note: Gets a sentence on files that are left out.

    Raises:
        UserError: If there are errors under the policy of `data.on_invalid` and `data.max_invalid`.
    """
    if errors := check.errors:
        count, total = check.left_out()
        texts = list(map(str, errors))
        if check.config.on_invalid == "skip" and count > check.config.max_invalid * total:
            texts.insert(
                0,
                f"{count} of {total} files can't be used, more than data.max_invalid "
                f"{check.config.max_invalid:g} allows",
            )
        raise UserError(
            f"{'; '.join(texts)}; for details: viceversa check {shell_quoted(check.path)}"
        )
    texts = [f"{source} {reason}" for source, reason in check.invalid.items()]
    for index in check.splits.values():
        texts += [f"{source} has no partner" for source in index.unmatched]
    if not texts:
        return dict(check.splits)
    note(f"left out: {len(texts)} files: {first_few(texts)}")
    return {split: _valid(index, check) for split, index in check.splits.items()}


def _valid(index: SplitIndex, check: CheckResult) -> SplitIndex:
    a, b = ([source not in check.invalid for source in side] for side in (index.a, index.b))
    if check.paired or index.side_by_side:
        a = b = [first and second for first, second in zip(a, b, strict=True)]
    left = index.masked(a, b)
    if not (left.a and left.b):
        raise UserError(f"{index.layout}: every file is invalid")
    return replace(left, unmatched={})
