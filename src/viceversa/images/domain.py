"""Domains A and B: contents of their files, and the values that become -1 and 1."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..errors import UserError
from .header import MAX_PROFILE
from .nodata import NoData, parse_nodata, parse_value
from .sources import path_of

INTEGERS = ("uint8", "uint16", "int16")
DTYPES = (*INTEGERS, "float32")
# dtype of a file -> dtype of its pixels; all others become float32
READ_AS = {"bool": "uint8", "uint8": "uint8", "uint16": "uint16", "int16": "int16"}
Kind = Literal["image", "labels", "lab-l", "lab-ab"]


@dataclass(frozen=True)
class DomainConfig:
    """Options of a domain (`data.a`, `data.b`)."""

    kind: Kind = "image"
    """Images, label maps, or the lightness (lab-l) or colours (lab-ab) of photos."""
    channels: int = 3
    """Channels of an image: 1 (grey), 3 (RGB), 4 (RGB and alpha), or any other number."""
    range: str | tuple[float, ...] = "dtype"
    """Values that become -1 and 1: dtype, minmax, percentiles, or two numbers such as 0,65535."""
    percentiles: tuple[float, float] = (0.1, 99.9)
    """Percentiles of the training images for `range percentiles`, per channel."""
    classes: tuple[str, ...] = ()
    """Colours of the classes of a label map: #rrggbb,#rrggbb,..."""
    ids: int = 0
    """Number of classes of a label map whose pixels are class indices from 0."""
    tolerance: int = 0
    """Maximum difference of a channel between a pixel and the colour of its class."""
    resize: Literal["bicubic", "bilinear", "nearest"] = "bicubic"
    """Resampling filter; label maps always use nearest."""
    nodata: str | float = "tag"
    """No-data value: a number, nan, tag (GDAL tag 42113 of each file) or none."""
    nodata_fill: float = -1.0
    """Value in [-1, 1] that replaces pixels without data in the input of the networks."""
    pages: str = "refuse"
    """Files of several pages or frames: refuse, the index of one (from 0), or bands (all as
    channels)."""

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise UserError(f"channels must be at least 1, not {self.channels}")
        if self.kind == "labels" and bool(self.classes) == bool(self.ids):
            raise UserError("kind labels needs either classes (colours) or ids (number of classes)")
        if self.kind != "labels" and (self.classes or self.ids):
            raise UserError(f"classes and ids belong to kind labels, not to {self.kind}")
        if self.pages not in ("refuse", "bands") and not self.pages.isdecimal():
            raise UserError(f"pages must be refuse, bands or an index from 0, not {self.pages!r}")
        invalid = [text for text in self.colours if not re.fullmatch("#[0-9a-fA-F]{6}", text)]
        if invalid:
            raise UserError(f"the colour of a class must be #rrggbb, not {invalid[0]!r}")
        self._check_classes()
        self._check_nodata()
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise UserError(f"percentiles must increase and be from 0 to 100, not {low} and {high}")
        self.given()

    def _check_classes(self) -> None:
        """Raise UserError if a pixel could belong to two classes."""
        if not 0 <= self.ids <= 2**16:
            raise UserError(f"ids must be a number of classes from 1 to 65536, not {self.ids}")
        if self.tolerance < 0:
            raise UserError(f"tolerance must be at least 0, not {self.tolerance}")
        if self.tolerance and not self.classes:
            raise UserError("tolerance belongs to classes (colours); remove it")
        near = nearest_colours(self.colours)
        if near and near[2] <= 2 * self.tolerance:
            one, two, distance = near
            if not distance:
                raise UserError(
                    f"classes has the colour {one} twice; use a different colour for each"
                )
            raise UserError(
                f"tolerance {self.tolerance} is too large for the classes {one} and {two}: a pixel "
                f"could belong to both; set it to {(distance - 1) // 2} or less"
            )

    def _check_nodata(self) -> None:
        if self.nodata not in ("tag", "none") and not self.has_nodata:
            raise UserError(
                f"nodata belongs to images and to label maps with ids, not to {self.kind}"
                + (" with classes" if self.classes else ""),
                option="nodata",
            )
        if not -1 <= self.nodata_fill <= 1:
            raise UserError(
                f"nodata_fill must be in [-1, 1], not {self.nodata_fill}", option="nodata_fill"
            )
        parse_nodata(self.nodata)

    @property
    def has_nodata(self) -> bool:
        """Whether pixels of its files can have no data; class colours and photos cannot."""
        return self.kind == "image" or self.indices

    @property
    def nodata_value(self) -> NoData:
        """No-data value of its files according to the settings."""
        return parse_nodata(self.nodata) if self.has_nodata else NoData()

    def given(self) -> tuple[float, float] | None:
        """Return the range if it is given as numbers. Raises UserError if it is invalid."""
        if self.range in ("dtype", "minmax", "percentiles"):
            return None
        words = self.range.strip("[] ").split(",") if isinstance(self.range, str) else self.range
        try:
            low, high = (float(word) for word in words)
        except (ValueError, OverflowError):
            raise UserError(
                "range must be dtype, minmax, percentiles or two numbers such as 0,65535, not "
                f"{self.range!r}"
            ) from None
        if not low < high or not math.isfinite(high - low):
            raise UserError(f"range must increase and be finite, not from {low} to {high}")
        return low, high

    @property
    def colours(self) -> list[str]:
        """Colours of the classes; an entry may contain several, separated by commas."""
        return [word.strip() for text in self.classes for word in text.split(",")]

    @property
    def indices(self) -> bool:
        """Whether the pixels of its files are class indices."""
        return self.kind == "labels" and self.ids > 0

    @property
    def file_channels(self) -> int:
        """Channels of its files."""
        if self.kind == "image":
            return self.channels
        return 1 if self.indices else 3

    @property
    def read_channels(self) -> int | None:
        """Channels to which its files are converted; None: class indices are read as stored."""
        return None if self.indices else self.file_channels

    @property
    def width(self) -> int:
        """Channels of the network input or output."""
        if self.kind == "labels":
            return len(self.colours) or self.ids
        return {"image": self.channels, "lab-l": 1, "lab-ab": 2}[self.kind]


@dataclass(frozen=True)
class Domain:
    """A domain with the dtype and range of its training images, as stored in model files."""

    config: DomainConfig = field(default_factory=DomainConfig)
    dtype: str = "uint8"
    low: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Value that becomes -1, for each channel."""
    high: tuple[float, ...] = (255.0, 255.0, 255.0)
    """Value that becomes 1, for each channel."""
    nodata: str = ""
    """No-data value set by `config` or declared by all training files, as text of GDAL."""
    icc: str = ""
    """ICC profile of all training files, in Base64."""
    metadata: str = ""
    """TIFF tag 42112 (GDAL_METADATA) of all training files."""

    @property
    def nodata_value(self) -> NoData:
        """No-data value of its files: as configured, else by their tag, else `nodata`."""
        given = self.config.nodata_value
        return NoData(parse_value(self.nodata), tag=True) if given.tag and self.nodata else given

    @property
    def profile(self) -> bytes:
        """ICC profile."""
        return base64.b64decode(self.icc)

    def check_stored(self, where: object) -> None:
        """Raise UserError if a domain that was read from the file `where` is invalid."""
        bounds = list(zip(self.low, self.high, strict=False))
        count = self.config.channels if self.config.kind == "image" else len(self.low)
        valid = self.dtype in DTYPES and len(self.low) == len(self.high) == count
        if not valid or not all(low < high and math.isfinite(high - low) for low, high in bounds):
            raise UserError(
                f"{where} has an invalid value range: {self.dtype} from {list(self.low)} to "
                f"{list(self.high)} in {count} channels",
                path=path_of(where),
            )
        with suppress(ValueError):  # of Base64 or a number
            valid = len(self.icc) <= 2 * MAX_PROFILE and bool(self.profile) == bool(self.icc)
            if valid and (not self.nodata or parse_value(self.nodata) is not None):
                return
        raise UserError(f"{where} has an invalid no-data value or ICC profile", path=path_of(where))

    def other_dtype(self, dtype: str) -> str:
        """Return a note on images of another dtype than in training; else ""."""
        if self.config.kind != "image" or dtype == self.dtype:
            return ""
        note = f"{dtype} images, but the model was trained on {self.dtype}: "
        if self.config.range != "dtype" or dtype not in INTEGERS:
            return note + "their values are not scaled"
        (low, high), (first, last) = full_range(dtype), full_range(self.dtype)
        return note + f"{low:g} to {high:g} are scaled like {first:g} to {last:g} in training"

    def of_dtype(self, dtype: str) -> Domain:
        """Return the domain for images of another dtype: with the range of that dtype, if the
        setting `range` is dtype."""
        if self.config.kind != "image" or self.config.range != "dtype" or dtype == self.dtype:
            return self
        low, high = full_range(dtype)
        channels = self.config.channels
        return dataclasses.replace(
            self, dtype=dtype, low=(low,) * channels, high=(high,) * channels
        )


def nearest_colours(colours: Sequence[str]) -> tuple[str, str, int] | None:
    """Return the two most similar colours #rrggbb, and their largest difference of a channel."""

    def distance(pair: tuple[str, str]) -> int:
        one, two = (bytes.fromhex(text[1:]) for text in pair)
        return max(abs(x - y) for x, y in zip(one, two, strict=True))

    nearest = min(itertools.combinations(colours, 2), key=distance, default=None)
    return None if nearest is None else (*nearest, distance(nearest))


def full_range(dtype: str) -> tuple[float, float]:
    """Return the smallest and largest value of an integer dtype. Raises UserError for floats."""
    if dtype not in INTEGERS:
        raise UserError(f"the range of {dtype} values is not defined; set it to two numbers")
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)
