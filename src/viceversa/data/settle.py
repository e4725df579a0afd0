"""What the training images settle of a domain: the depth of its files, and the range of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..images import Pixels
from ..images.domain import READ_AS, Domain, DomainConfig, full_range
from ..images.pictures import Half, half_of, load
from ..images.sources import Source
from .check.records import Range, Record
from .config import DataConfig
from .layouts import Found

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
            pixels = self.load(source)
            low, high = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
            return tuple(map(float, low)), tuple(map(float, high))
        if self.half is None:
            return record.low, record.high
        return record.halves[self.half == "right"]


def settle(
    found: Found, records: Mapping[Source, Record], config: DataConfig
) -> tuple[Domain, Domain]:
    """The domains A and B as their training images make them.

    Raises UserError where a range can't be had: floats under `dtype`, or nothing but one value.
    """
    most = config.max_megapixels * 10**6

    def settled(name: str, domain: DomainConfig, sources: Sequence[Source]) -> Domain:
        half = half_of(name) if found.side_by_side else None
        return _settled(Side(name, domain, sources, half, records, most))

    return settled("a", config.a, found.a), settled("b", config.b, found.b)


def _settled(side: Side) -> Domain:
    config = side.config
    if config.kind != "image":
        many = config.width > 256 and config.kind == "labels"
        return Domain(config, "uint16" if many else "uint8", (0.0,), (255.0,))
    dtypes = {READ_AS.get(side.records[source].dtype, "float32") for source in side.sources}
    dtype = str(np.result_type(*dtypes))
    dtype = dtype if dtype in READ_AS else "float32"  # of several types, the one that holds all
    low, high = _range(side, dtype)
    flat = [band for band, (least, most) in enumerate(zip(low, high, strict=True)) if least >= most]
    if flat:
        raise UserError(
            f"all values of domain {side.name.upper()} in band {flat[0] + 1} are "
            f"{low[flat[0]]:g}; give data.{side.name}.range in numbers"
        )
    return Domain(config, dtype, low, high)


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
    values = []
    for source in side.sources[:: max(1, len(side.sources) // SAMPLED)]:
        pixels = side.load(source)
        flat = pixels.reshape(-1, pixels.shape[2])
        values.append(flat[:: max(1, len(flat) // VALUES)])
    low, high = np.percentile(np.concatenate(values), config.percentiles, axis=0)
    return tuple(map(float, low)), tuple(map(float, high))
