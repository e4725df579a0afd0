"""Fit the dtype and the value range of each domain to the training images."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..images import Source, read_tags
from ..images.domain import READ_AS, Domain, DomainConfig, full_range
from ..images.header import MAX_PROFILE, Tags
from .check.record import FileRecord, Range, join, ranges
from .check.result import DomainFiles
from .config import DataConfig
from .index import SplitIndex

MAX_IMAGES = 200  # images that are read for `percentiles`, evenly spaced over the dataset
MAX_VALUES = 5000  # values of each channel that are read from each of these images
Records = dict[Source, FileRecord]


def fit_domains(
    index: SplitIndex, files: tuple[DomainFiles, DomainFiles], config: DataConfig
) -> tuple[Domain, Domain]:
    """Return the domains A and B of the training images.

    Args:
        index: The training images.
        files: Files of A and of B, among them the training images.
        config: Settings of the data.

    Raises:
        UserError: There is no range: all values are equal, or floats with `range dtype`.
    """
    max_pixels = config.max_megapixels * 10**6
    a, b = (
        fit_domain(part, {s: part.records[s] for s in index.files(part.domain)}, max_pixels)
        for part in files
    )
    return a, b


def fit_domain(part: DomainFiles, records: Records, max_pixels: int) -> Domain:
    """Return the domain of the files in `records`. Raises UserError as `fit_domains`."""
    config = replace(part.config, masks="")  # masks belong to files, not to a domain
    tags = _common_tags(config, records, max_pixels)
    mixed = config.nodata_value.tag and len({one.nodata for one in records.values()}) > 1
    if config.kind != "image":
        dtype = "uint16" if config.width > 256 and config.kind == "labels" else "uint8"
        return Domain(config, dtype, (0.0,), (255.0,), tags.nodata, "", tags.metadata, mixed)
    dtype = str(np.result_type(*{record.read_dtype for record in records.values()}))
    dtype = dtype if dtype in READ_AS else "float32"
    low, high = _range(part, records, dtype, max_pixels)
    for channel, (least, most) in enumerate(zip(low, high, strict=True), start=1):
        if least < most:
            continue
        name, option = f"domain {part.domain.upper()}", f"data.{part.domain}.range"
        text = f"all values of {name} in channel {channel} are {least:g}; set {option} to numbers"
        if math.isinf(least):
            option = f"data.{part.domain}.nodata"
            text = f"{name} has no data in channel {channel}; check {option}"
        raise UserError(text, option=option)
    icc = base64.b64encode(tags.icc).decode()
    return Domain(config, dtype, low, high, tags.nodata, icc, tags.metadata, mixed)


def _common_tags(config: DomainConfig, records: Records, max_pixels: int) -> Tags:
    """Return the no-data value, ICC profile and GDAL metadata that all files have in common.

    A no-data value of the settings replaces those of the files.
    """
    values = zip(*((one.nodata, one.icc, one.metadata) for one in records.values()), strict=True)
    nodata, icc, metadata = map(_common, values)
    if config.nodata_value.value is not None:
        nodata = str(config.nodata)
    elif not config.nodata_value.tag:
        nodata = ""
    if not (icc or metadata):
        return Tags(nodata=nodata)
    first = read_tags(next(iter(records)), config.file_channels, config.pages, max_pixels)
    colours = {1: b"GRAY", 3: b"RGB "}.get(config.file_channels)
    valid = len(first.icc) <= MAX_PROFILE and first.icc[16:20] == colours
    return Tags(first.icc if icc and valid else b"", first.metadata if metadata else "", nodata)


def _common(values: Iterable[str]) -> str:
    """Return the only value, or an empty text if there are several."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else ""


def _range(part: DomainFiles, records: Records, dtype: str, max_pixels: int) -> Range:
    config = part.config
    given = config.given()
    if given is None and config.range == "dtype":
        if dtype == "float32":
            raise UserError(
                f"domain {part.domain.upper()} has floating-point images, whose dtype has no "
                f"range; set data.{part.domain}.range to minmax, percentiles or two numbers",
                option=f"data.{part.domain}.range",
            )
        given = full_range(dtype)
    if given is not None:
        return (given[0],) * config.channels, (given[1],) * config.channels
    if config.range == "minmax":
        fitted = [
            part.range(record)
            if record.channels == config.channels
            else join(*ranges(part.load(source, max_pixels)))  # converted, such as grey to RGB
            for source, record in records.items()
        ]
        lows, highs = (zip(*side, strict=True) for side in zip(*fitted, strict=True))
        return tuple(map(min, lows)), tuple(map(max, highs))
    values: list[list[NDArray[Any]]] = [[] for _ in range(config.channels)]
    for source in list(records)[:: max(1, len(records) // MAX_IMAGES)]:
        pixels = np.ma.asarray(part.load(source, max_pixels))
        for channel, some in enumerate(values):
            flat = pixels[:, :, channel].compressed()
            some.append(flat[:: max(1, len(flat) // MAX_VALUES)])
    channels = [np.concatenate(some) for some in values]
    if not all(map(len, channels)):
        return (math.inf,) * config.channels, (-math.inf,) * config.channels
    low, high = zip(*(np.percentile(one, config.percentiles) for one in channels), strict=True)
    return tuple(map(float, low)), tuple(map(float, high))
