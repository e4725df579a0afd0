"""Results of an evaluation: as a table, and as plain values with their protocol."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from .. import __version__
from ..data import DataConfig
from ..fields import height_width, pixels_text
from ..files import finite
from ..images import Pixels
from ..images.domain import Domain
from ..metrics.limits import PEAK
from ..metrics.registry import few_images, is_unreliable
from ..reports.text import aligned, number
from .value_range import ValueRange


class ImageFiles(NamedTuple):
    """An image that is evaluated: its names, as text."""

    name: str
    """Name in the dataset, without folders of domains and extension; pairs have one name."""
    group: str
    """Its group (patient, slide, scene), or ""."""
    source: str
    """Path of the source, or of the generated image if there is no source."""
    target: str
    """Path of the target, or ""."""


@dataclass(frozen=True)
class DirectionMetrics:
    """Metrics of one direction."""

    direction: str
    description: str
    """Number and kind of the images, such as "5 pairs of test"."""
    files: list[ImageFiles]
    """Names of the images, in order."""
    range: ValueRange
    """Range of the values of the outputs and targets."""
    values: dict[str, list[float]]
    """metric -> a value per image."""
    intervals: dict[str, tuple[float, float, float]]
    """metric -> mean, and its 95 % interval."""
    sets: dict[str, float]
    """Metrics of sets and of label maps."""
    iou: list[float]
    """IoU of each class, if there are classes."""
    translations: int
    """Number of generated images that are compared as a set."""
    real: int
    """Number of real images that they are compared with."""

    @property
    def sources(self) -> list[str]:
        """Paths of the sources, in order."""
        return [one.source for one in self.files]

    @property
    def smaller_set(self) -> int:
        """Number of images of the smaller set."""
        return min(self.translations, self.real)


class CaseImages(NamedTuple):
    """How the cases of a direction are drawn."""

    columns: list[str]
    """Titles of the images of a case."""
    draw: Callable[[int], Pixels]
    """Draws the images of a case, an index of `DirectionMetrics.files`, beside each other."""
    patch_maps: bool = False
    """Whether patch maps are among the images."""


@dataclass
class Evaluation:
    """Results of an evaluation."""

    title: str
    dataset: str
    """A line on the images."""
    protocol: dict[str, Any]
    """Everything besides the weights that values depend on."""
    cases: Callable[[DirectionMetrics], CaseImages]
    directions: list[DirectionMetrics] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    heading: str = ""
    """Heading of the metrics on the page; empty: the direction."""
    training_images: bool = False
    """Whether the model was trained on some of the images."""


def as_table(result: Evaluation) -> str:
    """Return the metrics of each direction as lines of text, followed by the notes."""
    lines = [result.dataset]
    for one in result.directions:
        lines += [f"{one.direction}: {one.description}", f"  {one.range}"]
        rows = [
            (one.range.label(name), number(mean), f"95 % interval: {number(low)} to {number(high)}")
            for name, (mean, low, high) in one.intervals.items()
        ]
        for name, value in one.sets.items():
            deviation = one.sets.get(f"{name}_deviation")
            text = "" if deviation is None else f"deviation between subsets: {number(deviation)}"
            notes = filter(None, [text, few_images(name, one.smaller_set)])
            if not name.endswith("_deviation"):
                rows.append((name, number(value), ", ".join(notes)))
        lines.append(aligned(rows, indent="  "))
    return "\n".join([*lines, *(f"note: {note}" for note in result.notes)])


def as_json(result: Evaluation) -> dict[str, Any]:
    """Return everything as plain values; non-finite numbers are None."""
    values: dict[str, Any] = finite(
        {
            "protocol": result.protocol,
            "directions": {one.direction: _direction(one) for one in result.directions},
            "training_images": result.training_images,
            "notes": result.notes,
        }
    )
    return values


def as_csv(result: Evaluation) -> str:
    """Return a row for each image and direction: names, range of the values, and metrics."""
    rows: list[dict[str, Any]] = []
    for one in result.directions:
        shared = one.range.as_row()
        values = {name: list(map(repr, of)) for name, of in one.values.items()}  # all digits
        for i, names in enumerate(_names(one)):
            rows.append(names | shared | {name: of[i] for name, of in values.items()})
    text = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _names(metrics: DirectionMetrics) -> list[dict[str, Any]]:
    """Return the name of each image, its direction, group and paths."""
    return [
        {"name": one.name, "direction": metrics.direction, **one._asdict()} for one in metrics.files
    ]


def _direction(metrics: DirectionMetrics) -> dict[str, Any]:
    return {
        "translations": metrics.translations,
        "real": metrics.real,
        "values": metrics.range.as_json(),
        "means": {
            name: {"mean": mean, "low": low, "high": high}
            for name, (mean, low, high) in metrics.intervals.items()
        },
        "sets": metrics.sets,
        "few_images": [name for name in metrics.sets if is_unreliable(name, metrics.smaller_set)],
        "iou": metrics.iou,
        "images": [
            names | {name: values[i] for name, values in metrics.values.items()}
            for i, names in enumerate(_names(metrics))
        ],
    }


def protocol(images: Mapping[str, Any], real: str, features: Mapping[str, str]) -> dict[str, Any]:
    """Return everything besides the weights that values depend on.

    Only values with the same protocol can be compared.

    Args:
        images: What is evaluated.
        real: The real images that sets are compared with.
        features: SHA-256 of the feature networks.
    """
    return {
        "viceversa": __version__,
        "torch": torch.__version__,
        **images,
        "values": "in [-1, 1], translations rounded as their files store them",
        "psnr": f"10 log10(peak^2 / mean squared difference) of each image, with peak {PEAK:g}; "
        "the mean is over images, without those that equal their targets (infinite)",
        "intervals": "bootstrap of the mean over images, 2000 draws, percentiles of 95 %",
        "swd": "Laplacian pyramid, 4096 patches of 7x7 a scale, 128 directions, seed 0",
        "fid_and_kid": {
            "network": "Inception of 2015, 2048 features",
            "input": "299x299",
            "filter": "Pillow's bicubic on 32-bit floats",
            "real": real,
            "kid_subsets": 100,
            "kid_subset_size": 50,
        },
        "features": dict(features),
    }


def text_of_size(config: DataConfig) -> str:
    """Describe the size of the images."""
    sizes = {
        "resize": f"resized to {pixels_text(*height_width(config.crop_size))}",
        "none": "as the files are",
    }
    return sizes.get(config.preprocess, f"{config.preprocess} {config.load_size}")


def nodata_protocol(domain: Domain, masks: str = "") -> str:
    """Describe how pixels without data are treated; `masks`: SHA-256 of the mask files, if any."""
    value = domain.nodata or str(domain.config.nodata)
    value = "GDAL tag 42113 of each file, if it has one" if value == "tag" else value
    sources = [value] if value != "none" else []
    sources += ["alpha 0"] if domain.config.alpha == "mask" else []
    sources += [f"mask files (sha256 {masks})"] if masks else []
    if not sources:
        return "none"
    return (
        f"{' and '.join(sources)}: left out of l1, psnr, cycle, edge_correlation, classes and the "
        "windows of ssim; "
        f"set to {domain.config.nodata_fill:g} in both images for the other metrics"
    )
