"""Find the files that cannot be decoded, or cannot be used as images of their domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ...errors import UserError
from ...fields import ImageSize, as_typed, size_text
from ...images import Source, fit_channels
from ...images.domain import DomainConfig
from ...images.pixels import NAN_HINT
from ...images.sources import printable
from ..config import DataConfig, compared, resized_size
from .record import FileRecord
from .result import CheckResult, DomainFiles, Issue, issue_of


class Group(NamedTuple):
    """Files that cannot be used, all for the same kind of reason."""

    text: str
    """Description of the files."""
    reasons: dict[Source, str]
    """Reason for each file, to follow its name."""
    advice: str


def invalid_files(check: CheckResult) -> tuple[dict[Source, str], list[Issue]]:
    """Return why each file cannot be used, and an issue for each group of them."""
    invalid: dict[Source, str] = {}
    issues: list[Issue] = []
    for group in _groups(check):
        new = {source: text for source, text in group.reasons.items() if source not in invalid}
        texts = [f"{source} {text}" for source, text in new.items()]
        issues += issue_of("error", group.text, texts, group.advice, skippable=True)
        invalid |= new
    return invalid, issues


def _groups(check: CheckResult) -> Iterator[Group]:
    config = check.config
    parts = [part for pair in check.domains.values() for part in pair]
    errors = {source: record.error for source, record in check.records.items() if record.error}
    yield Group(
        "files that cannot be read",
        {source: text for source, text in errors.items() if not text.endswith(NAN_HINT)},
        "repair or remove the files that cannot be read",
    )
    yield Group(
        "files with A and B side by side whose width is odd",
        _reasons(
            [part for part in parts if part.side_by_side],
            lambda _, r: f"is {r.width} pixels wide, which cannot be halved" if r.width % 2 else "",
        ),
        "crop the files of odd width to an even one: A is the left half, B the right",
    )
    for domain in "ab":
        yield from _of_domain(check.domain(domain), config)
        if folder := getattr(config, domain).masks:
            every = check.domain(domain)
            missing = [s for part in every for s, _ in part.readable() if s not in part.masks]
            yield Group(
                f"images of {domain.upper()} without a mask",
                dict.fromkeys(missing, f"has no mask with its name in {printable(folder)}"),
                f"add the missing masks of {domain.upper()}, with the names of the images",
            )
    if check.paired:
        yield Group(
            "images of B that differ in size from their partner",
            dict(_mismatched(check)),
            "save both images of a pair at one size, or set --data.preprocess resize_and_crop",
        )


def _reasons(
    parts: Sequence[DomainFiles], reason: Callable[[DomainFiles, FileRecord], str]
) -> dict[Source, str]:
    """Return the readable files for which there is a reason."""
    return {s: text for part in parts for s, r in part.readable() if (text := reason(part, r))}


def _of_domain(parts: Sequence[DomainFiles], config: DataConfig) -> Iterator[Group]:
    domain, settings = parts[0].domain, parts[0].config
    name, kind = domain.upper(), settings.kind
    records = {source: (part, r) for part in parts for source, r in part.records.items()}
    yield Group(
        f"images of {name} with NaN",
        {
            source: record.error.removesuffix(NAN_HINT)
            for source, (_, record) in records.items()
            if record.error.endswith(NAN_HINT)
        },
        f"set --data.{domain}.nodata nan if NaN means no data in {name}, or repair these images",
    )
    usual = usual_dtype(parts)
    if kind != "image" and not settings.ids:
        text = f"; {kind} takes images of 8 bits"
        yield Group(
            f"images of {name} that are not of 8 bits",
            _reasons(parts, lambda _, r: f"is {r.dtype}{text}" * (r.read_dtype != "uint8")),
            f"save all images of {name} with 8 bits, or choose another --data.{domain}.kind",
        )
    if kind == "image" and settings.given() is None:
        text = f", most are {usual}"
        yield Group(
            f"images of {name} of another dtype than most",
            _reasons(parts, lambda _, r: f"is {r.dtype}{text}" * (r.read_dtype != usual)),
            f"save all images of {name} in one dtype, or give --data.{domain}.range in numbers",
        )
    if not settings.ids:
        wanted = settings.file_channels
        channels = _reasons(
            parts, lambda _, r: _wrong_channels(*colours(settings, r), r.read_dtype, wanted)
        )
        advice = f"save the images of {name} with {wanted} channels"
        counts = {records[source][1].channels for source in channels}
        every = sum(not record.error for _, record in records.values())
        if len(counts) == 1 and len(channels) == every and kind == "image":
            advice = f"set --data.{domain}.channels {counts.pop()}"
        text = f"images of {name} whose channels do not fit data.{domain}.channels"
        yield Group(text, channels, advice)
    small = _reasons(parts, lambda part, record: _too_small(part.size(record), config))
    sizes = [part.size(record) for part, record in (records[s] for s in small)]
    crop = _largest_crop(sizes, config.crop_size)
    yield Group(
        f"images of {name} smaller than data.crop_size",
        small,
        f"set --data.crop_size to {as_typed(crop)} or less, or --data.preprocess resize_and_crop",
    )
    if kind == "labels":
        if count := settings.ids:
            unknown = _reasons(parts, lambda part, record: _wrong_id(part, record, count))
        else:
            unknown = dict(_unknown_colours(parts, config))
        top = max((part.range(r)[1][0] for part, r in (records[s] for s in unknown)), default=0)
        yield Group(
            f"label maps of {name} with values that are not a class",
            unknown,
            f"set --data.{domain}.ids {int(top) + 1}, or correct these label maps",
        )


def usual_dtype(parts: Sequence[DomainFiles]) -> str:
    """Return the dtype in which most images of a domain are read."""
    counts = Counter(record.read_dtype for part in parts for _, record in part.readable())
    return counts.most_common(1)[0][0] if counts else ""


def colours(config: DomainConfig, record: FileRecord) -> tuple[int, bool]:
    """Return the channels of a file that are converted, and whether the last is blended alpha."""
    if record.alpha and config.alpha == "mask" and record.channels != config.file_channels:
        return record.channels - 1, False
    return record.channels, record.alpha


@lru_cache(maxsize=1024)
def _wrong_channels(channels: int, alpha: bool, dtype: str, wanted: int) -> str:
    try:
        fit_channels(np.zeros((1, 1, channels), dtype), alpha, wanted, "")
    except UserError as error:
        return str(error).strip().partition(";")[0]
    return ""


def _too_small(size: tuple[int, int], config: DataConfig) -> str:
    try:
        resized_size(*size, config, "")
    except UserError:
        crop = config.crop_size
        return f"is {compared(size, crop)}, smaller than {size_text(crop)}"
    return ""


def _largest_crop(sizes: Sequence[tuple[int, int]], now: ImageSize) -> ImageSize:
    """Return the largest crop that images (height, width) contain, of one number if it is now."""
    height = min((height for height, _ in sizes), default=0)
    width = min((width for _, width in sizes), default=0)
    if isinstance(now, int):
        return min(height, width)
    return min(height, now[0]), min(width, now[1])


def _wrong_id(part: DomainFiles, record: FileRecord, count: int) -> str:
    (low, *_), (high, *_) = part.range(record)
    if low >= 0 and high < count:
        return ""
    value = high if high >= count else low
    return f"contains the class {value:g}; with ids {count} classes are 0 to {count - 1}"


def _unknown_colours(
    parts: Sequence[DomainFiles], config: DataConfig
) -> Iterator[tuple[Source, str]]:
    """Yield label maps with colours that are not a class: each is read again."""

    def reason(part: DomainFiles, source: Source) -> str:
        try:
            part.load(source, config.max_megapixels * 10**6)
        except UserError as error:
            return str(error).removeprefix(f"{source} ")
        return ""

    files = [(part, source) for part in parts for source, _ in part.readable()]
    with ThreadPoolExecutor() as pool:
        for (_, source), text in zip(files, pool.map(lambda f: reason(*f), files), strict=True):
            if text:
                yield source, text


Pair = tuple[Source, FileRecord, Source, FileRecord]


def different_sizes(check: CheckResult, split: str) -> Iterator[Pair]:
    """Yield the pairs of a split whose images differ in size."""
    index, (a, b) = check.splits[split], check.domains[split]
    for source, target in zip(index.a, index.b, strict=True):
        one, other = a.records[source], b.records[target]
        sizes = (one.height, one.width), (other.height, other.width)
        if not (one.error or other.error) and sizes[0] != sizes[1]:
            yield source, one, target, other


def _mismatched(check: CheckResult) -> Iterator[tuple[Source, str]]:
    """Yield pairs that differ in size even after resizing: no crop fits both."""
    for split, index in check.splits.items():
        for source, one, target, other in (
            different_sizes(check, split) if not index.side_by_side else ()
        ):
            try:
                first, second = (
                    resized_size(r.height, r.width, check.config, "") for r in (one, other)
                )
            except UserError:
                continue  # too small, which is reported
            if first != second:
                partner = f"its partner {source} {one.width}x{one.height}"
                yield target, f"is {other.width}x{other.height}, {partner}"
