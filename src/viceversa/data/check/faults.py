"""Why a file that decodes cannot be used as an image of its domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np

from ...errors import UserError
from ...images import Source, fit_channels
from ...images.domain import READ_AS, DomainConfig
from ...images.loading import half_of, load
from ...images.pixels import NAN_HINT
from ..config import DataConfig
from ..index import SplitIndex
from ..sizes import fitted
from .records import Range, Record

Side = Literal["a", "b"]
Kind = Literal["unread", "nan", "bands", "depth", "mixed", "ids", "odd", "small", "pair"]


class Shape(NamedTuple):
    """What many images have alike, as the file has it."""

    height: int
    width: int
    bands: int
    dtype: str
    mode: str
    alpha: bool


class Fault(NamedTuple):
    """One file's fault: `reason` follows its name in a sentence."""

    kind: Kind
    side: Side
    reason: str


class Seen(NamedTuple):
    """The images of one domain in one split."""

    split: str
    side: Side
    config: DomainConfig
    halved: bool
    records: Mapping[Source, Record]
    shapes: Mapping[Shape, Sequence[Source]]
    """Those that decode, by their shape."""

    def read(self) -> Iterator[tuple[Source, Record]]:
        """Those that decode."""
        for sources in self.shapes.values():
            for source in sources:
                yield source, self.records[source]

    def size(self, record: Record) -> tuple[int, int]:
        """(height, width) of an image; of side-by-side files, of a half."""
        return record.height, record.width // 2 if self.halved else record.width

    def range(self, record: Record) -> Range:
        """The range of values of an image, of this domain's half where it has two."""
        return record.halves[self.side == "b"] if self.halved else (record.low, record.high)


def seen(
    split: str,
    side: Side,
    found: SplitIndex,
    config: DomainConfig,
    records: Mapping[Source, Record],
) -> Seen:
    """The images of a domain, grouped, so that most questions are asked once a shape."""
    shapes: dict[Shape, list[Source]] = {}
    for source in dict.fromkeys(found.a if side == "a" else found.b):
        one = records[source]
        if not one.error:
            shape = Shape(one.height, one.width, one.bands, one.dtype, one.mode, one.alpha)
            shapes.setdefault(shape, []).append(source)
    return Seen(split, side, config, found.side_by_side, records, shapes)


def dtype_read(dtype: str) -> str:
    """The type that a file's numbers are read as."""
    return READ_AS.get(dtype, "float32")


def usual_depth(domain: Iterable[Seen]) -> str:
    """The type that the images of a domain are read as, or most of them, over all splits."""
    depths: Counter[str] = Counter()
    for part in domain:
        for shape, members in part.shapes.items():
            depths[dtype_read(shape.dtype)] += len(members)
    return max(depths, key=lambda depth: depths[depth], default="")


def faults(
    found: SplitIndex,
    domains: Sequence[Seen],
    depths: Sequence[str],
    config: DataConfig,
    paired: bool,
) -> dict[Source, Fault]:
    """Every file of a split that cannot be used: one fault each, the first.

    `depths`: the usual depth of each domain, which the others don't fit.
    """
    made: dict[Source, Fault] = {}
    for domain, depth in zip(domains, depths, strict=True):
        for source in found.a if domain.side == "a" else found.b:
            if error := domain.records[source].error:
                kind: Kind = "nan" if error.endswith(NAN_HINT) else "unread"
                made.setdefault(source, Fault(kind, domain.side, error.removesuffix(NAN_HINT)))
        for members in domain.shapes.values():
            if fault := _of_shape(domain, domain.records[members[0]], depth, config):
                made = dict.fromkeys(members, fault) | made
        if domain.config.kind == "labels":
            strange = _strange_ids if domain.config.ids else _strange_colours
            made = dict(strange(domain)) | made
    if paired and not found.side_by_side:
        for source, reason in _misfits(found, domains, config):
            made.setdefault(source, Fault("pair", "b", reason))
    return made


def _of_shape(domain: Seen, record: Record, depth: str, config: DataConfig) -> Fault | None:
    """What is wrong with all images of one shape: what loading them would say, asked once."""
    height, width = domain.size(record)
    size, kind = f"{width}x{height}", domain.config.kind
    if domain.halved and record.width % 2:
        return Fault("odd", domain.side, f"is {record.width} pixels wide, which has no halves")
    if kind != "image" and not domain.config.ids and dtype_read(record.dtype) != "uint8":
        return Fault("depth", domain.side, f"is {record.dtype}; {kind} takes images of 8 bits")
    if kind == "image" and domain.config.given() is None and dtype_read(record.dtype) != depth:
        return Fault("mixed", domain.side, f"is {record.dtype}, most are {depth}")
    try:
        if not domain.config.ids:
            pixel = np.zeros((1, 1, record.bands), dtype_read(record.dtype))
            fit_channels(pixel, record.alpha, domain.config.file_channels, "")
    except UserError as error:
        return Fault("bands", domain.side, str(error).strip().partition(";")[0])
    try:
        fitted(height, width, config, "")
    except UserError:
        return Fault("small", domain.side, f"is {size}, smaller than {config.crop_size}")
    return None


def _strange_ids(domain: Seen) -> Iterator[tuple[Source, Fault]]:
    """Label maps with numbers that are no class's."""
    count = domain.config.ids
    for source, record in domain.read():
        low, high = domain.range(record)
        if low[0] < 0 or high[0] >= count:
            value = high[0] if high[0] >= count else low[0]
            reason = f"holds the class {value:g}; with ids {count} they go from 0 to {count - 1}"
            yield source, Fault("ids", domain.side, reason)


def _strange_colours(domain: Seen) -> Iterator[tuple[Source, Fault]]:
    """Label maps with colours that are no class's: each is read again, and not remembered."""
    half = half_of(domain.side) if domain.halved else None

    def why_not(source: Source) -> str | None:
        try:
            load(source, domain.config, half)
        except UserError as error:
            return str(error).removeprefix(f"{source} ")
        return None

    with ThreadPoolExecutor() as pool:
        sources = [source for source, _ in domain.read()]
        for source, reason in zip(sources, pool.map(why_not, sources), strict=True):
            if reason is not None:
                yield source, Fault("ids", domain.side, reason)


def unlike(found: SplitIndex, domains: Sequence[Seen]) -> Iterator[tuple[Source, Source]]:
    """Pairs whose images are not of one size."""
    a, b = (domain.records for domain in domains)
    for one, two in zip(found.a, found.b, strict=True):
        first, second = a[one], b[two]
        if first.error or second.error:
            continue
        if (first.height, first.width) != (second.height, second.width):
            yield one, two


def _misfits(
    found: SplitIndex, domains: Sequence[Seen], config: DataConfig
) -> Iterator[tuple[Source, str]]:
    """Pairs that differ in size still after the resizing: no crop could fit both."""
    a, b = (domain.records for domain in domains)
    for one, two in unlike(found, domains):
        sizes = [(record.height, record.width) for record in (a[one], b[two])]
        try:
            first, second = (fitted(*size, config, "") for size in sizes)
        except UserError:
            continue  # too small, which is told
        if first != second:
            (ha, wa), (hb, wb) = sizes
            yield two, f"is {wb}x{hb}, its partner {one} {wa}x{ha}"
