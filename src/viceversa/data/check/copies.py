"""Contents that stand more than once in a data set, by their SHA-256, and groups in two splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...images import Source
from ...images.sources import printable
from ..index import SplitIndex
from .faults import Seen
from .findings import Finding, named


def of_copies(splits: Mapping[str, Sequence[Seen]], paired: bool) -> Iterator[Finding]:
    """Contents that stand more than once: in a split, in both domains, or in several splits."""
    where: dict[str, dict[str, dict[Source, str]]] = {}  # content -> split -> file -> domain
    for split, domains in splits.items():
        for domain in domains:
            if domain.config.kind == "labels":  # of which many may well be alike
                continue
            for source, record in domain.read():
                places = where.setdefault(record.sha256, {})
                places.setdefault(split, {}).setdefault(source, domain.side)
    twice, across, leaks = [], [], []
    for places in where.values():
        for files in places.values():
            if len(files) == 1:
                continue
            for side in "ab":
                if len(alike := [source for source, s in files.items() if s == side]) > 1:
                    twice.append(" = ".join(map(str, alike)))
            if not paired and len(set(files.values())) > 1:
                across.append(" = ".join(map(str, files)))
        if len(places) > 1:
            firsts = [(split, next(iter(files))) for split, files in places.items()]
            leaks.append(" = ".join(str(source) for _, source in firsts))
    told = [
        (
            leaks,
            "images that stand in more than one split",
            "remove from val and test what stands in train: it would flatter the results",
        ),
        (
            twice,
            "images that stand more than once in a split",
            "remove the copies: what stands twice counts twice",
        ),
        (across, "images that stand in both A and B", "sort the images that stand in both"),
    ]
    for lines, text, do in told:
        if lines:
            yield named("warning", text, lines, do)


def of_groups(found: Mapping[str, SplitIndex]) -> Iterator[Finding]:
    """Groups (patients, slides, scenes) that are divided between splits."""
    splits: dict[str, list[str]] = {}
    for split, one in found.items():
        for group in sorted(set(one.groups.values())):
            splits.setdefault(group, []).append(split)
    divided = [
        f"{printable(group)} in {' and '.join(names)}"
        for group, names in splits.items()
        if len(names) > 1
    ]
    if divided:
        do = "keep the images of a group in one split: what is alike would flatter the results"
        yield named("warning", "groups that are in more than one split", divided, do)
