"""What the training images settle of a domain: the depth of its files, and the range of values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import UserError
from ..images.domain import Domain, DomainConfig, full_range
from ..images.pictures import Half, load
from ..images.sources import Source
from .check.survey import Record
from .config import DataConfig
from .layouts import Found

# the type of a file's numbers -> the type they are read as; all others become float32
READ_AS = {"bool": "uint8", "uint8": "uint8", "uint16": "uint16", "int16": "int16"}
SAMPLED = 200  # images whose values `percentiles` looks at, evenly spread over the set
VALUES = 5000  # values of each of them, band by band


def settle(
    found: Found, records: dict[Source, Record], config: DataConfig
) -> tuple[Domain, Domain]:
    """The domains A and B as their training images make them.

    Raises UserError where a range can't be had: floats under `dtype`, or nothing but one value.
    """
    halves: tuple[Half, Half] = ("left", "right") if found.side_by_side else (None, None)
    return (
        _settled("a", config.a, found.a, halves[0], records),
        _settled("b", config.b, found.b, halves[1], records),
    )


def _settled(
    name: str, config: DomainConfig, sources: Sequence[Source], half: Half,
    records: dict[Source, Record],
) -> Domain:  # fmt: skip
    known = [record for source in sources if not (record := records[source]).error]
    dtypes = {READ_AS.get(record.dtype, "float32") for record in known}
    if config.kind != "image":
        many = config.width > 256 and config.kind == "labels"
        return Domain(config, "uint16" if many else "uint8", (0.0,), (255.0,))
    dtype = dtypes.pop() if len(dtypes) == 1 else "float32"  # of several, the one that holds all
    low, high = _range(name, config, dtype, sources, half, known)
    flat = [band for band, (least, most) in enumerate(zip(low, high, strict=True)) if least >= most]
    if flat:
        raise UserError(
            f"all values of domain {name.upper()} in band {flat[0] + 1} are {low[flat[0]]:g}; "
            f"give data.{name}.range in numbers"
        )
    return Domain(config, dtype, low, high)


def _range(
    name: str, config: DomainConfig, dtype: str, sources: Sequence[Source], half: Half,
    known: Sequence[Record],
) -> tuple[tuple[float, ...], tuple[float, ...]]:  # fmt: skip
    given = config.given()
    if given is None and config.range == "dtype":
        if dtype == "float32":
            raise UserError(
                f"domain {name.upper()} holds floating-point images, whose type has no range; set "
                f"data.{name}.range to minmax, percentiles or two numbers"
            )
        given = full_range(dtype)
    if given is not None:
        return (given[0],) * config.channels, (given[1],) * config.channels
    if config.range == "minmax":
        return _extremes(config, half, known)
    return _percentiles(config, sources, half)


def _extremes(
    config: DomainConfig, half: Half, known: Sequence[Record]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    pairs = [
        (record.low, record.high) if half is None else record.halves[half == "right"]
        for record in known
    ]
    lows, highs = [low for low, _ in pairs], [high for _, high in pairs]
    if any(len(low) != config.channels for low in lows):  # grey became RGB, or the reverse
        low, high = min(map(min, lows)), max(map(max, highs))
        return (low,) * config.channels, (high,) * config.channels
    return tuple(map(min, zip(*lows, strict=True))), tuple(map(max, zip(*highs, strict=True)))


def _percentiles(
    config: DomainConfig, sources: Sequence[Source], half: Half
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    values = []
    for source in sources[:: max(1, len(sources) // SAMPLED)]:
        try:
            pixels = load(source, config, half)
        except UserError:
            continue  # the check has told of it
        flat = pixels.reshape(-1, pixels.shape[2])
        values.append(flat[:: max(1, len(flat) // VALUES)])
    low, high = np.percentile(np.concatenate(values), config.percentiles, axis=0)
    return tuple(map(float, low)), tuple(map(float, high))
