"""Check a dataset: index its splits, scan all files, find issues."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from ...errors import UserError
from ...images import Source
from ...images.domain import DomainConfig
from ...images.io import ReadOptions
from ...images.loading import read_options
from ..config import DataConfig
from ..index import FileTree, Manifest, SplitIndex, index_split, index_splits, list_images
from .invalid import invalid_files
from .issues import all_issues, failed_pairing, unmatched_files
from .record import FileRecord
from .result import CheckResult, DomainFiles, Issue
from .scan import Progress, Store, scan_files

Records = dict[Source, FileRecord]
Scan = tuple[ReadOptions, str]
"""How files are read, and their domain if it has masks."""
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
    masks = {domain: _masks(splits.values(), domain) for domain in "ab"}
    scan = partial(scan_files, verify=verify, store=store, root=Path(path))
    found = _scan_domains(scan, splits.values(), config, masks, progress)

    def part(split: str, domain: str, settings: DomainConfig) -> DomainFiles:
        index = splits[split]
        own = {source: found[domain][source] for source in index.files(domain)}
        with_mask = {source: mask for source, mask in masks[domain].items() if source in own}
        return DomainFiles(split, domain, settings, index.side_by_side, own, with_mask)

    domains = {split: (part(split, "a", config.a), part(split, "b", config.b)) for split in splits}
    check = CheckResult(str(path), paired, config, data, splits, domains, {})
    invalid, issues = invalid_files(check)
    issues += [*detected, *all_issues(check)]
    issues.sort(key=lambda issue: SEVERITIES.index(issue.severity))
    return replace(check, invalid=invalid, issues=tuple(issues))


def _scan_domains(
    scan_files: Callable[..., Records],
    splits: Collection[SplitIndex],
    config: DataConfig,
    masks: Mapping[str, Mapping[Source, Source]],
    progress: Progress | None,
) -> dict[str, Records]:
    """Scan the files of A and B, in one scan if both are read alike; return records by domain."""
    max_pixels = config.max_megapixels * 10**6
    options = [read_options(domain, max_pixels) for domain in (config.a, config.b)]
    scans = [(how, domain * bool(masks[domain])) for how, domain in zip(options, "ab", strict=True)]
    files: dict[Scan, dict[Source, None]] = {}
    for index in splits:
        for scan, side in zip(scans, (index.a, index.b), strict=True):
            files.setdefault(scan, {}).update(dict.fromkeys(side))
    total = sum(map(len, files.values()))
    records: dict[Scan, Records] = {}
    for scan, sources in files.items():
        scanned = sum(map(len, records.values()))

        def report(done: int, _: int, scanned: int = scanned) -> None:
            if progress:
                progress(scanned + done, total)

        how, domain = scan
        of_domain = masks[domain] if domain else {}
        records[scan] = scan_files(sources, how, progress=report, masks=of_domain, domain=domain)
    return {domain: records[scan] for domain, scan in zip("ab", scans, strict=True)}


def _masks(splits: Iterable[SplitIndex], domain: str) -> dict[Source, Source]:
    """Return the masks of the images of a domain."""
    every = (item for index in splits for item in index.masks.items())
    return {source: mask for (side, source), mask in every if side == domain}


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
