"""What the training images settle of a domain: the depth of its files, and the range of values."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..images import Pixels, read_tags
from ..images.domain import READ_AS, Domain, DomainConfig, full_range
from ..images.header import LARGEST_PROFILE, Tags
from ..images.loading import Half, half_of, load
from ..images.nodata import mask_of
from ..images.sources import Source
from .check.records import Marks, Range, Record, joined
from .check.survey import ranges
from .config import DataConfig
from .index import SplitIndex

SAMPLED = 200  # images whose values `percentiles` looks at, evenly spread over the set
VALUES = 5000  # values of each of them, band by band


class Side(NamedTuple):
    """The training images of one domain: their files, which half of each, what is known of them."""

    name: str
    config: DomainConfig
    sources: Sequence[Source]
    half: Half
    records: Mapping[Source, Record]
    most: int

    def load(self, source: Source) -> Pixels:
        """A file as the domain has it."""
        return load(source, self.config, self.half, self.most)

    def span(self, source: Source) -> Range:
        """The least and the greatest value of an image, band by band."""
        record = self.records[source]
        if record.bands != self.config.channels:  # grey became RGB, or what is seen through white
            return joined(*ranges(self.load(source)))
        if self.half is None:
            return record.low, record.high
        return record.halves[self.half == "right"]


def settle(
    found: SplitIndex, records: Sequence[Mapping[Source, Record]], config: DataConfig
) -> tuple[Domain, Domain]:
    """The domains A and B as their training images make them; `records` of A's files and of B's.

    Raises UserError where a range can't be had: floats under `dtype`, or nothing but one value.
    """
    most = config.max_megapixels * 10**6

    def settled(name: str, domain: DomainConfig, sources: Sequence[Source]) -> Domain:
        half = half_of(name) if found.side_by_side else None
        return _settled(Side(name, domain, sources, half, records[name == "b"], most))

    return settled("a", config.a, found.a), settled("b", config.b, found.b)


def _settled(side: Side) -> Domain:
    config, tags = side.config, _common_tags(side)
    if config.kind != "image":
        many = config.width > 256 and config.kind == "labels"
        dtype = "uint16" if many else "uint8"
        return Domain(config, dtype, (0.0,), (255.0,), nodata=tags.nodata, metadata=tags.metadata)
    dtypes = {READ_AS.get(side.records[source].dtype, "float32") for source in side.sources}
    dtype = str(np.result_type(*dtypes))
    dtype = dtype if dtype in READ_AS else "float32"  # of several types, the one that holds all
    low, high = _range(side, dtype)
    flat = [band for band, (least, most) in enumerate(zip(low, high, strict=True)) if least >= most]
    if flat and math.isinf(low[flat[0]]):
        raise UserError(
            f"domain {side.name.upper()} has no data in band {flat[0] + 1}: all its values are the "
            f"no-data value; check data.{side.name}.nodata",
            option=f"data.{side.name}.nodata",
        )
    if flat:
        raise UserError(
            f"all values of domain {side.name.upper()} in band {flat[0] + 1} are "
            f"{low[flat[0]]:g}; give data.{side.name}.range in numbers"
        )
    icc = base64.b64encode(tags.icc).decode()
    return Domain(config, dtype, low, high, tags.nodata, icc, tags.metadata)


def _common_tags(side: Side) -> Tags:
    """The no-data value, ICC profile and GDAL metadata that all files have; empty if they differ.

    A no-data value that the settings give takes the place of those of the files.
    """
    marks = [side.records[source].marks for source in side.sources]
    first, same = marks[0], [len(set(column)) == 1 for column in zip(*marks, strict=True)]
    agreed = dict(zip(Marks._fields, same, strict=True))
    config = side.config
    nodata = str(config.nodata)
    if nodata == "tag":
        nodata = first.nodata if agreed["nodata"] and config.has_nodata else ""
    tags = Tags(nodata="" if nodata == "none" else nodata)
    if not ((agreed["icc"] and first.icc) or (agreed["metadata"] and first.metadata)):
        return tags
    file = read_tags(side.sources[0], config.file_channels, config.pages, side.most)
    return tags._replace(
        icc=file.icc if agreed["icc"] and _fits(file.icc, config.file_channels) else b"",
        metadata=file.metadata if agreed["metadata"] else "",
    )


def _fits(icc: bytes, bands: int) -> bool:
    """Whether a profile is small, and of the colours that images of so many bands have."""
    return len(icc) <= LARGEST_PROFILE and icc[16:20] == {1: b"GRAY", 3: b"RGB "}.get(bands)


def _range(side: Side, dtype: str) -> Range:
    config = side.config
    given = config.given()
    if given is None and config.range == "dtype":
        if dtype == "float32":
            raise UserError(
                f"domain {side.name.upper()} holds floating-point images, whose type has no range; "
                f"set data.{side.name}.range to minmax, percentiles or two numbers"
            )
        given = full_range(dtype)
    if given is not None:
        return (given[0],) * config.channels, (given[1],) * config.channels
    if config.range == "minmax":
        lows, highs = zip(*map(side.span, side.sources), strict=True)
        least, most = zip(*lows, strict=True), zip(*highs, strict=True)
        return tuple(map(min, least)), tuple(map(max, most))
    values: list[list[NDArray[Any]]] = [[] for _ in range(config.channels)]
    for source in side.sources[:: max(1, len(side.sources) // SAMPLED)]:
        pixels = side.load(source)
        mask = mask_of(pixels)
        for band, some in enumerate(values):
            flat = np.ma.getdata(pixels)[:, :, band].reshape(-1)
            flat = flat if mask is None else flat[~mask[:, :, band].reshape(-1)]
            some.append(flat[:: max(1, len(flat) // VALUES)])
    bands = [np.concatenate(some) for some in values]
    if not all(map(len, bands)):
        return (math.inf,) * config.channels, (-math.inf,) * config.channels
    low, high = zip(*(np.percentile(one, config.percentiles) for one in bands), strict=True)
    return tuple(map(float, low)), tuple(map(float, high))
