"""Findings about values that are no data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ...images import Source
from .faults import Seen
from .findings import FIRST, Finding, named


def of_nodata(domain: Sequence[Seen]) -> Iterator[Finding]:
    """Values that may mean no data, files that declare different ones, and images without data."""
    side, settings = domain[0].side, domain[0].config
    if not settings.has_nodata:
        return
    suspected: dict[float, list[Source]] = {}
    declared: dict[str, list[Source]] = {}
    empty: list[Source] = []
    for part in domain:
        for source, record in part.read():
            if all(map(math.isinf, part.range(record)[0])):
                empty.append(source)
            declared.setdefault(record.marks.nodata, []).append(source)
            if record.marks.suspected is not None and settings.nodata != "none":
                suspected.setdefault(record.marks.suspected, []).append(source)
    for value, members in suspected.items():
        text = (
            f"images of {side.upper()} in which {value:.9g} fills many pixels and is far from all "
            "other values: it may mean no data"
        )
        do = f"set --data.{side}.nodata {value:.9g} if it means no data, or none if it does not"
        yield named("warning", text, members, do)
    if settings.nodata == "tag" and len(declared) > 1:
        values = ", ".join(value or "none" for value in list(declared)[:FIRST])
        text = (
            f"images of {side.upper()} declare different no-data values ({values}): each is read "
            "by its own, and none is written into translations"
        )
        do = f"set --data.{side}.nodata to the value that all images of {side.upper()} have"
        yield Finding("warning", text, do=do)
    if empty:
        text = f"images of {side.upper()} that have the no-data value everywhere"
        yield named("warning", text, empty, f"remove the images of {side.upper()} without data")
