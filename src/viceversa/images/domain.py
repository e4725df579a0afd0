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
from ..fields import number
from .class_names import check_names
from .header import MAX_PROFILE
from .nodata import NoData, parse_nodata, parse_value
from .sources import path_of

INTEGERS = ("uint8", "uint16", "int16")
DTYPES = (*INTEGERS, "float32")
# dtype of a file -> dtype of its pixels; all others become float32
READ_AS = {"bool": "uint8", "uint8": "uint8", "uint16": "uint16", "int16": "int16"}
MAX_UNIT = 20  # characters
Kind = Literal["image", "labels", "lab-l", "lab-ab"]


@dataclass(frozen=True)
class DomainConfig:
    """Options of a domain (`data.a`, `data.b`)."""

    kind: Kind = "image"
    """Images, label maps, or the lightness (lab-l) or colours (lab-ab) of photos."""
    channels: int = number(3, min=1)
    """Channels of an image: 1 (grey), 3 (RGB), 4 (RGB and alpha), or any other number."""
    range: str | tuple[float, ...] = "dtype"
    """Values that become -1 and 1: dtype, minmax, percentiles, or two numbers such as 0,65535."""
    percentiles: tuple[float, float] = number((0.1, 99.9), min=0, max=100)
    """Percentiles of the training images for `range percentiles`, per channel."""
    classes: tuple[str, ...] = ()
    """Colours of the classes of a label map: #rrggbb,#rrggbb,..."""
    ids: int = number(0, min=0, max=2**16)
    """Number of classes of a label map whose pixels are class indices from 0."""
    class_names: tuple[str, ...] = ()
    """Names of the classes of a label map, in the order of the classes: sky,wall,..."""
    tolerance: int = number(0, min=0)
    """Maximum difference of a channel between a pixel and the colour of its class."""
    resize: Literal["bicubic", "bilinear", "nearest"] = "bicubic"
    """Resampling filter; label maps always use nearest."""
    nodata: str | float = "tag"
    """Pixels without data: a number, nan, a rule such as >=250 or <0 (in all channels), tag (GDAL
    tag 42113 of each file) or none."""
    alpha: Literal["blend", "mask"] = "blend"
    """Alpha of the files: blend over white (with 4 channels: keep), or mask: pixels of alpha 0 have
    no data."""
    masks: str = ""
    """Folder of mask images with the names of the images: where a mask is 0, there is no data."""
    nodata_fill: float = number(-1.0, min=-1, max=1)
    """Value in [-1, 1] that replaces pixels without data in the input of the networks."""
    unit: str = ""
    """Unit of the values in the files, such as HU or m: L1 is reported in this unit too."""
    pages: str = "refuse"
    """Files of several pages or frames: refuse, the index of one (from 0), or bands (all as
    channels)."""

    def __post_init__(self) -> None:
        kind, (low, high) = self.kind, self.percentiles
        if kind == "labels" and bool(self.classes) == bool(self.ids):
            text = "kind labels needs either classes (colours) or ids (number of classes)"
            raise UserError(text, option="kind")
        if kind != "labels" and (self.classes or self.ids):
            raise UserError(f"classes and ids belong to kind labels, not to {kind}", option="kind")
        if self.pages not in ("refuse", "bands") and not self.pages.isdecimal():
            text = f"pages must be refuse, bands or an index from 0, not {self.pages!r}"
            raise UserError(text, option="pages")
        if self.unit and kind != "image":
            raise UserError(f"unit belongs to kind image, not to {kind}", option="unit")
        if len(self.unit) > MAX_UNIT or not self.unit.isprintable():
            text = f"unit must be printable, of at most {MAX_UNIT} characters, not {self.unit!r}"
            raise UserError(text, option="unit")
        self._check_colours()
        check_names(self.names, self.kind == "labels", self.width)
        if self.nodata not in ("tag", "none") and not self.has_nodata:
            text = f"nodata belongs to images and to label maps with ids, not to {kind}"
            raise UserError(text + " with classes" * (kind == "labels"), option="nodata")
        if self.masks and not self.has_nodata:
            text = f"masks belong to images and to label maps with ids, not to {kind}"
            raise UserError(text + " with classes" * (kind == "labels"), option="masks")
        if self.alpha == "mask" and kind != "image":
            raise UserError(f"alpha mask belongs to kind image, not to {kind}", option="alpha")
        parse_nodata(self.nodata)
        if not low < high:
            text = f"percentiles must increase, not be {low} and {high}"
            raise UserError(text, option="percentiles")
        self.given()

    def _check_colours(self) -> None:
        """Raise UserError if the colours of the classes are invalid."""
        colours = self.colours
        for colour in colours:
            if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
                text = f"the colour of a class must be #rrggbb, not {colour!r}"
                raise UserError(text, option="classes")
        if self.tolerance and not self.classes:
            text = "tolerance belongs to classes (colours); remove it"
            raise UserError(text, option="tolerance")
        if (near := nearest_colours(colours)) and near[2] <= 2 * self.tolerance:
            one, two, distance = near
            if not distance:
                text = f"classes has the colour {one} twice; use a different colour for each"
                raise UserError(text, option="classes")
            raise UserError(
                f"tolerance {self.tolerance} is too large for the classes {one} and {two}: a pixel "
                f"could belong to both; set it to {(distance - 1) // 2} or less",
                option="tolerance",
            )

    @property
    def has_nodata(self) -> bool:
        """Whether pixels of its files can have no data; class colours and photos cannot."""
        return self.kind == "image" or self.indices

    @property
    def nodata_value(self) -> NoData:
        """Pixels of its files that have no data, according to the settings."""
        given = parse_nodata(self.nodata) if self.has_nodata else NoData()
        return given._replace(alpha=self.alpha == "mask")

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
                f"{self.range!r}",
                option="range",
            ) from None
        if not low < high or not math.isfinite(high - low):
            text = f"range must increase and be finite, not be from {low} to {high}"
            raise UserError(text, option="range")
        return low, high

    @property
    def colours(self) -> list[str]:
        """Colours of the classes; an entry may contain several, separated by commas."""
        return [word.strip() for text in self.classes for word in text.split(",")]

    @property
    def names(self) -> list[str]:
        """Names of the classes; an entry may contain several, separated by commas."""
        return [word.strip() for text in self.class_names for word in text.split(",")]

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
    mixed_nodata: bool = False
    """Whether training files declare different no-data values, or only some declare one; each file
    is read by its own."""

    @property
    def nodata_value(self) -> NoData:
        """Pixels of its files that have no data: as configured; else by their tag, or `nodata`."""
        given = self.config.nodata_value
        if given.tag and self.nodata:
            return given._replace(value=parse_value(self.nodata))
        return given

    @property
    def may_lack_data(self) -> bool:
        """Whether training files can have pixels without data, apart from those under masks."""
        return self.mixed_nodata or self.nodata_value.possible

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
        scaled = self.scaling(dtype)
        note = f"{dtype} images, but the model was trained on {self.dtype}: {scaled}"
        return f"{note} in training" if "like" in scaled else note

    def scaling(self, dtype: str) -> str:
        """Return how values of another dtype are scaled."""
        if self.config.range != "dtype" or dtype not in INTEGERS:
            return "their values are not scaled"
        (low, high), (first, last) = full_range(dtype), full_range(self.dtype)
        return f"{low:g} to {high:g} are scaled like {first:g} to {last:g}"

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
