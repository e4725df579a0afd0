"""Report of a check, as text or as JSON values."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...config.run import recipe_for
from ...fields import counted
from ...images.sources import printable
from ..config import DataConfig
from .record import FileRecord, Range
from .result import FIRST, CheckResult, DomainFiles, shell_quoted
from .shift import Summary as ShiftSummary
from .shift import summary as shift_summary

MOST_COMMON = 3  # number of sizes, modes and dtypes that are listed
MAX_CHANNELS = 8  # number of channels up to which the range of each is listed


def as_text(check: CheckResult, train: str = "") -> str:
    """Return the report as text; `train`: the arguments of `viceversa train`, if known."""
    pairs = "pairs of A and B" if check.paired else "A and B without pairs"
    lines = [f"{printable(check.path)}: {pairs}", ""]
    lines += [f"  {index.describe(split)}" for split, index in check.splits.items()]
    lines.append("")
    for domain in "ab":
        lines += _domain_lines(summary(check.domain(domain)))
    lines += [_shift_line(split, found) for split, found in _shifts(check).items()]
    for issue in check.issues:
        count = f": {issue.total}" if issue.files else ""
        lines += ["", f"{issue.severity}: {issue.text}{count}"]
        listed = issue.files if issue.severity == "error" else issue.files[:FIRST]
        lines += [f"    {name}" for name in listed]
        if issue.total > len(listed):
            lines.append(f"    and {issue.total - len(listed)} more")
    steps = advice(check, train)
    if check.errors:
        head = "What to do before training:"
    else:
        head = "Recommended:" if len(steps) > 1 else "No problems detected."
    return "\n".join([*lines, "", head, *(f"  - {step}" for step in steps)])


def advice(check: CheckResult, train: str = "") -> list[str]:
    """Return what to do about the issues and, if there are no errors, how to train."""
    of_errors, of_warnings = (
        [one.advice for one in check.issues if one.advice and one.severity == severity]
        for severity in ("error", "warning")
    )
    errors = check.errors
    if not errors:
        default = dataclasses.replace(check.config, path="") == DataConfig()
        settings = "" if default else " (with the same settings of data)"
        train = train or f"{recipe_for(check.paired)} {shell_quoted(check.path)}{settings}"
        line = f"train: viceversa train {train}"
        doubts = {one.advice: one.condition for one in check.issues if one.condition}
        if doubts:
            line = f"{next(iter(doubts.values()))}, {line}"
        steps = dict.fromkeys(one for one in [*of_errors, *of_warnings] if one not in doubts)
        return [*steps, line, *doubts]
    count, total = check.left_out()
    skip = []
    if all(issue.skippable for issue in errors) and count < total:
        fraction = math.ceil(1000 * count / total) / 1000
        more = f" --data.max_invalid {fraction:g}" if fraction > check.config.max_invalid else ""
        skip = [f"or train without {count} of the {total} files: --data.on_invalid skip{more}"]
    return list(dict.fromkeys([*of_errors, *skip, *of_warnings]))


def summary(parts: Sequence[DomainFiles]) -> dict[str, Any]:
    """Return properties of the images of a domain in all splits, as values for JSON."""
    images = [(part, record) for part in parts for _, record in part.readable()]
    sizes = Counter("{1}x{0}".format(*part.size(record)) for part, record in images)
    nodata = Counter(record.nodata for _, record in images)
    config = parts[0].config
    if not (config.nodata_value.tag or config.nodata == "none"):
        nodata = Counter({str(config.nodata): len(images)})
    elif config.nodata == "none" or not config.has_nodata:
        nodata.clear()
    ranges = [part.range(record) for part, record in images]
    return {
        "domain": parts[0].domain.upper(),
        "images": len(images),
        "sizes": dict(sizes.most_common()),
        "modes": dict(Counter(record.mode for _, record in images).most_common()),
        "dtypes": dict(Counter(record.dtype for _, record in images).most_common()),
        "range": channel_ranges([one for one in ranges if not any(map(math.isinf, one[0]))]),
        "nodata": {value: count for value, count in nodata.items() if value},
        "masked": _masked(images),
    }


def _masked(images: Sequence[tuple[DomainFiles, FileRecord]]) -> dict[str, float]:
    """Return the number of images with pixels without data, and the fraction of all pixels."""
    fractions = [part.masked(record) for part, record in images]
    sizes = [math.prod(part.size(record)) for part, record in images]
    total = sum(one * size for one, size in zip(fractions, sizes, strict=True))
    return {"images": sum(map(bool, fractions)), "fraction": total / max(1, sum(sizes))}


def channel_ranges(ranges: Sequence[Range]) -> list[list[float]]:
    """Return [minimum, maximum] of each channel, or of all if images differ in channels."""
    if len({len(low) for low, _ in ranges}) > 1:
        ranges = [((min(low),), (max(high),)) for low, high in ranges]
    lows = map(min, zip(*(low for low, _ in ranges), strict=True))
    highs = map(max, zip(*(high for _, high in ranges), strict=True))
    return [[low, high] for low, high in zip(lows, highs, strict=True)]


def _shifts(check: CheckResult) -> dict[str, ShiftSummary]:
    """Return a summary of the shifts of each split with pairs that were compared."""
    return {split: shift_summary(shifts) for split, shifts in check.shifts.items() if shifts}


def _shift_line(split: str, found: ShiftSummary) -> str:
    aligned = found.confident - len(found.shifted)
    constant = "with the shift ({}, {}) of all".format(*found.constant) if found.constant else ""
    return (
        f"  shift of B against A in {counted(found.compared, 'pair')} of {split}: "
        f"{aligned} {constant or 'aligned'}, {len(found.shifted)} shifted, "
        f"{found.compared - found.confident} cannot tell"
    )


def _domain_lines(values: Mapping[str, Any]) -> list[str]:
    name = values["domain"]
    if not values["range"]:
        return [f"  {name}  no image that can be read"]
    ranges = [f"{low:g} to {high:g}" for low, high in values["range"]]
    if len(ranges) > MAX_CHANNELS or len(set(ranges)) == 1:
        lows, highs = zip(*values["range"], strict=True)
        ranges = [f"{min(lows):g} to {max(highs):g}"]
    channels = f" (channels 1 to {len(ranges)})" if len(ranges) > 1 else ""
    lines = [
        f"  {name}  {counted(values['images'], 'image')} that can be read",
        f"     sizes   {_most_common(values['sizes'])}",
        f"     modes   {_most_common(values['modes'])}; {_most_common(values['dtypes'])}",
        f"     values  {'; '.join(ranges)}{channels}",
    ]
    if values["nodata"]:
        lines.append(f"     no data {_most_common(values['nodata'])}")
    if masked := values["masked"]["images"]:
        fraction = f"{100 * values['masked']['fraction']:.3g} % of the pixels"
        lines.append(f"     masked  {fraction}, in {counted(masked, 'image')}")
    return lines


def _most_common(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    listed = [f"{name} ({count})" for name, count in counts.items()][:MOST_COMMON]
    if rest := list(counts.values())[MOST_COMMON:]:
        listed.append(f"{len(rest)} others ({sum(rest)})")
    return ", ".join(listed)


def as_dict(check: CheckResult, train: str = "") -> dict[str, Any]:
    """Return the report as values for JSON, with every file that cannot be used."""
    return {
        "path": printable(check.path),
        "paired": check.paired,
        "splits": {
            split: {
                "layout": index.layout,
                "a": len(index.a),
                "b": len(index.b),
                "groups": len(set(index.groups.values())),
                "side_by_side": index.side_by_side,
                "unmatched": [str(source) for source in index.unmatched],
            }
            for split, index in check.splits.items()
        },
        "domains": [summary(check.domain(domain)) for domain in "ab"],
        "shifts": {
            split: {
                "pairs": len(check.splits[split].a),
                "compared": found.compared,
                "confident": found.confident,
                "shifted": len(found.shifted),
                "constant": found.constant,
                "of_pairs": [
                    {"a": str(a), "b": str(b), **shift._asdict()}
                    for (a, b), shift in check.shifts[split].items()
                ],
            }
            for split, found in _shifts(check).items()
        },
        "issues": [dataclasses.asdict(issue) for issue in check.issues],
        "invalid": {str(source): reason for source, reason in check.invalid.items()},
        "advice": advice(check, train),
        "trainable": not check.errors,
    }
