"""What a check found, in words for people and in numbers for programs."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ...images.sources import printable
from ..config import DataConfig
from .checked import Checked
from .faults import Seen
from .records import Range
from .words import FIRST, in_shell

MOST = 3  # of sizes, modes and depths the commonest are told
BANDS = 8  # ranges are told band by band up to here


def text(checked: Checked, train: str = "") -> str:
    """All of it for people: what is there, what is wrong, what to do.

    `train`: the words behind `viceversa train`, where a recipe is known.
    """
    how = "pairs of A and B" if checked.paired else "A and B without pairs"
    lines = [f"{printable(checked.path)}: {how}", ""]
    for split, found in checked.found.items():
        lines.append(f"  {found.describe(split)}")
    lines.append("")
    for side in (0, 1):
        lines += _domain_lines(summary([pair[side] for pair in checked.seen.values()]))
    for finding in checked.findings:
        counted = f": {finding.total}" if finding.files else ""
        lines += ["", f"{finding.level}: {finding.text}{counted}"]
        shown = finding.files[: None if finding.level == "error" else FIRST]
        lines += [f"    {name}" for name in shown]
        if finding.total > len(shown):
            lines.append(f"    and {finding.total - len(shown)} more")
    return "\n".join([*lines, "", *_what_to_do(checked, train)])


def _what_to_do(checked: Checked, train: str) -> list[str]:
    errors, others = (
        [f.do for f in checked.findings if f.do and f.level == level]
        for level in ("error", "warning")
    )
    dos = list(dict.fromkeys([*errors, *_skipping(checked), *others]))
    if checked.errors:
        head = "What to do before training:"
    else:
        head = "What to do, if you like:" if dos else "All is well."
        dos.append(_train_line(checked, train))
    return [head, *(f"  - {do}" for do in dos)]


def _skipping(checked: Checked) -> list[str]:
    """How to go on without the files that can't be used, where that would be enough."""
    count, total = checked.left_out()
    single = [finding.skippable for finding in checked.errors]
    if not single or not all(single) or count == total:
        return []
    share = math.ceil(1000 * count / total) / 1000
    more = f" --data.max_bad {share:g}" if share > checked.config.max_bad else ""
    return [f"or go on without the {count} files of {total}: --data.on_bad skip{more}"]


def _train_line(checked: Checked, words: str) -> str:
    recipe = "pix2pix" if checked.paired else "cyclegan"
    same = dataclasses.replace(checked.config, path="") == DataConfig()
    given = "" if same else " (with the same settings of data)"
    return f"train: viceversa train {words or f'{recipe} {in_shell(checked.path)}{given}'}"


def summary(parts: Sequence[Seen]) -> dict[str, Any]:
    """What the images of a domain are, over all splits, as plain values."""
    sizes: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    dtypes: Counter[str] = Counter()
    ranges: list[Range] = []
    nodata: Counter[str] = Counter()
    for part in parts:
        for shape, members in part.shapes.items():
            height, width = part.size(part.records[members[0]])
            sizes[f"{width}x{height}"] += len(members)
            modes[shape.mode] += len(members)
            dtypes[shape.dtype] += len(members)
        for _, record in part.read():
            ranges.append(part.range(record))
            nodata[record.marks.nodata] += 1
    config = parts[0].config
    given = config.nodata not in ("tag", "none")
    declared = {value: count for value, count in nodata.items() if value}
    return {
        "domain": parts[0].side.upper(),
        "images": sizes.total(),
        "sizes": dict(sizes.most_common()),
        "modes": dict(modes.most_common()),
        "dtypes": dict(dtypes.most_common()),
        "range": _spanned([one for one in ranges if not any(map(math.isinf, one[0]))]),
        "nodata": {str(config.nodata): nodata.total()}
        if given
        else declared
        if config.nodata == "tag" and config.has_nodata
        else {},
    }


def _spanned(ranges: Sequence[Range]) -> list[list[float]]:
    """[least, greatest] of each band; of all together where images have not the same bands."""
    if len({len(low) for low, _ in ranges}) > 1:
        ranges = [((min(low),), (max(high),)) for low, high in ranges]
    lows = map(min, zip(*(low for low, _ in ranges), strict=True))
    highs = map(max, zip(*(high for _, high in ranges), strict=True))
    return [[low, high] for low, high in zip(lows, highs, strict=True)]


def _domain_lines(told: dict[str, Any]) -> list[str]:
    ranges = [f"{low:g} to {high:g}" for low, high in told["range"]]
    if len(ranges) > BANDS or len(set(ranges)) == 1:
        least, most = min(r[0] for r in told["range"]), max(r[1] for r in told["range"])
        ranges = [f"{least:g} to {most:g}"]
    name = told["domain"]
    return (
        [
            f"  {name}  {told['images']} images that can be read",
            f"     sizes   {_commonest(told['sizes'])}",
            f"     modes   {_commonest(told['modes'])}; {_commonest(told['dtypes'])}",
            f"     values  {'; '.join(ranges)}",
            *([f"     no data {_commonest(told['nodata'])}"] if told["nodata"] else []),
        ]
        if ranges
        else [f"  {name}  no image that can be read"]
    )


def _commonest(counts: dict[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    listed: Iterable[str] = (f"{name} ({count})" for name, count in list(counts.items())[:MOST])
    rest = list(counts.values())[MOST:]
    return ", ".join([*listed, *([f"{len(rest)} others ({sum(rest)})"] if rest else [])])


def plain(checked: Checked, train: str = "") -> dict[str, Any]:
    """All of it for programs; every file that can't be used is in `bad`."""
    return {
        "path": printable(checked.path),
        "paired": checked.paired,
        "splits": {
            split: {
                "layout": found.layout,
                "a": len(found.a),
                "b": len(found.b),
                "groups": len(set(found.groups.values())),
                "side_by_side": found.side_by_side,
                "unmatched": [str(one) for one in found.unmatched],
            }
            for split, found in checked.found.items()
        },
        "domains": [summary([pair[side] for pair in checked.seen.values()]) for side in (0, 1)],
        "findings": [dataclasses.asdict(finding) for finding in checked.findings],
        "bad": {str(source): reason for source, reason in checked.bad.items()},
        "what_to_do": [line.removeprefix("  - ") for line in _what_to_do(checked, train)[1:]],
        "trainable": not checked.errors,
    }
