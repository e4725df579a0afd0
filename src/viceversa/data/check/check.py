"""Check a dataset: index its splits, scan all files, find issues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...errors import UserError
from ...images import Source
from ...images.io import ReadOptions
from ...images.loading import read_options
from ..config import DataConfig
from ..index import FileTree, Manifest, index_split, index_splits, list_images
from .invalid import invalid_files
from .issues import all_issues, failed_pairing, unmatched_files
from .result import CheckResult, DomainFiles, Issue
from .scan import FileRecord, Progress, Store, scan_files

SEVERITIES = ("error", "warning", "note")


def check_dataset(
    path: Path | str,
    paired: bool | None,
    config: DataConfig,
    *,
    names_first: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
    store: Store = "user",
) -> CheckResult:
    """Decode every file of a dataset once and find all issues.

    Args:
        path: The dataset.
        paired: Whether A and B are pairs; None: detected from the names.
        config: Settings of the data.
        names_first: Raise on images without a partner before any file is decoded.
        verify: Hash all files, to detect changes that kept size and time.
        progress: Called with the progress.
        store: Where records of the files are kept, see `scan_files`.

    Raises:
        UserError: The dataset cannot be indexed.
    """
    data = list_images(path)
    detected: list[Issue] = []
    if paired is None:
        paired, detected = _detect_pairs(data, config)
    splits = index_splits(data, paired, config)
    unmatched = list(unmatched_files(splits.items(), paired))
    if names_first and paired and unmatched and config.on_invalid == "refuse":
        raise UserError(f"{'; '.join(map(str, unmatched))}; {unmatched[0].advice}")
    max_pixels = config.max_megapixels * 10**6
    options = [read_options(domain, max_pixels) for domain in (config.a, config.b)]
    files: dict[ReadOptions, dict[Source, None]] = {}  # one scan if A and B are read alike
    for index in splits.values():
        for how, side in zip(options, (index.a, index.b), strict=True):
            files.setdefault(how, {}).update(dict.fromkeys(side))
    total = sum(map(len, files.values()))
    records: dict[ReadOptions, dict[Source, FileRecord]] = {}
    for how, sources in files.items():
        scanned = sum(map(len, records.values()))

        def report(done: int, _: int, scanned: int = scanned) -> None:
            if progress:
                progress(scanned + done, total)

        records[how] = scan_files(
            sources, how, verify=verify, progress=report, store=store, root=Path(path)
        )
    a, b = (records[how] for how in options)
    domains = {
        split: (
            DomainFiles(split, "a", config.a, index.side_by_side, {s: a[s] for s in index.a}),
            DomainFiles(split, "b", config.b, index.side_by_side, {s: b[s] for s in index.b}),
        )
        for split, index in splits.items()
    }
    check = CheckResult(str(path), paired, config, data, splits, domains, {})
    invalid, issues = invalid_files(check)
    issues += [*detected, *all_issues(check)]
    issues.sort(key=lambda issue: SEVERITIES.index(issue.severity))
    return replace(check, invalid=invalid, issues=tuple(issues))


def _detect_pairs(data: FileTree | Manifest, config: DataConfig) -> tuple[bool, list[Issue]]:
    """Return whether most names have a partner, or the data can only be read as pairs.

    If less than half of them have one, issues say so.
    """
    try:
        index = index_split(data, "train", True, config)
    except UserError:
        return False, []
    if index is None:
        return False, []
    if len(index.unmatched) <= len(index.a) + len(index.b):
        return True, []
    return False, list(failed_pairing(index))
