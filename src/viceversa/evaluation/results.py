"""An evaluation as a table for people, and as plain values for programs, with its protocol."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import torch

from .. import __version__
from ..files import finite, sha256
from ..images.domain import Domain
from ..metrics.registry import HIGHER, few_images, of_few_images
from ..reports.text import aligned, number
from .accumulator import SUBSET
from .run import DirectionMetrics, Evaluation


def table(result: Evaluation) -> str:
    """Return the metrics of each direction as lines of text, followed by the notes."""
    lines = [f"{result.images.split}: {result.images.pictures.index.layout}"]
    for way in result.ways:
        kind = "pairs" if result.paired else f"translations, {way.real} real images"
        lines.append(f"{way.way}: {way.made} {kind} of {result.images.split}")
        rows = [
            (name, number(mean), f"95 % interval: {number(low)} to {number(high)}")
            for name, (mean, low, high) in way.intervals.items()
        ]
        deviation = f"deviation between subsets: {number(way.sets.get('kid_deviation'))}"
        for name, value in way.sets.items():
            notes = [deviation * (name == "kid"), few_images(name, way.fewest)]
            if name != "kid_deviation":
                rows.append((name, number(value), ", ".join(filter(None, notes))))
        lines.append(aligned(rows, indent="  "))
    return "\n".join([*lines, *(f"note: {note}" for note in result.notes)])


def values(result: Evaluation) -> dict[str, Any]:
    """Everything, as JSON holds it: a number that is not finite is null."""
    numbers: dict[str, Any] = finite({
        "protocol": protocol(result), "ways": {way.way: _way(way) for way in result.ways},
        "notes": result.notes,
    })  # fmt: skip
    return numbers


def _way(way: DirectionMetrics) -> dict[str, Any]:
    means = {
        name: {"mean": mean, "low": low, "high": high}
        for name, (mean, low, high) in way.intervals.items()
    }
    images = [
        {"source": name, **{metric: of[place] for metric, of in way.each.items()}}
        for place, name in enumerate(way.names)
    ]
    return {
        "translations": way.made, "real": way.real, "means": means,
        "sets": way.sets, "few_images": [one for one in way.sets if of_few_images(one, way.fewest)],
        "iou": way.classes, "images": images,
    }  # fmt: skip


def protocol(result: Evaluation) -> dict[str, Any]:
    """What decided the numbers besides the model: two of another protocol can't be compared."""
    options, pictures, model = result.options, result.images.pictures, result.model
    config = result.images.config
    sizes = {
        "resize": f"resized to {config.crop_size}x{config.crop_size}", "none": "as the files are",
    }  # fmt: skip
    kinds = {
        side: dict(Counter(PurePosixPath(s.name).suffix.lower() for s in pictures.sources(side)))
        for side in "ab"
    }
    return {
        "viceversa": __version__, "torch": torch.__version__,
        "models": {way: {"file": str(file), "sha256": sha256(file),
                         "images_seen": model.headers[way].get("images_seen"),
                         "weights": model.headers[way].get("weights")}
                   for way, file in model.files.items()},
        "data": config.path, "split": result.images.split, "pairs": result.paired,
        "layout": pictures.index.layout,
        "hold_out": config.hold_out,
        "size": sizes.get(config.preprocess, f"{config.preprocess} {config.load_size}"),
        "resize_filter": {side: pictures.domains[side].config.resize for side in "ab"},
        "file_types": kinds, "policy": options.policy, "seed": options.seed,
        "nodata": {side: _nodata(pictures.domains[side]) for side in "ab"},
        "values": "in [-1, 1], translations rounded to what their files would hold",
        "intervals": "bootstrap of the mean over images, 2000 draws, percentiles of 95 %",
        "swd": "Laplacian pyramid, 4096 patches of 7x7 a scale, 128 directions, seed 0",
        "fid_and_kid": {
            "network": "Inception of 2015, 2048 features", "input": "299x299",
            "filter": "Pillow's bicubic on 32-bit floats",
            "real": "all targets of the split", "kid_subsets": 100, "kid_subset_size": SUBSET,
        },
        "features": result.features.digests,
    }  # fmt: skip


def _nodata(domain: Domain) -> str:
    """How pixels without data are treated."""
    value = domain.nodata or str(domain.config.nodata)
    if value == "none":
        return "none"
    value = "GDAL tag 42113 of each file, if it has one" if value == "tag" else value
    return (
        f"{value}: left out of l1, psnr, cycle, content, classes and the windows of ssim; set to "
        f"{domain.config.nodata_fill:g} in both images for the other metrics"
    )


def better(metric: str, value: float) -> float:
    """A number that grows as a metric gets better."""
    if not math.isfinite(value):
        return math.inf if metric in HIGHER and value > 0 else -math.inf
    return value if metric in HIGHER else -value
