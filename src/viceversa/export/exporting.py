"""Export translators for other runtimes, and compare their results with those of PyTorch."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..files import write_bytes
from ..images.domain import Domain
from ..images.labels import from_classes
from ..inference import Translator
from ..inference.exported import EXPORT_FORMATS, ExportedNetwork, Run, open_exported
from ..inference.memory import MemoryLimit
from ..networks.sizes import multiple_of, smallest_of
from ..streaming import Unknown
from .graph import ImageGraph
from .onnx_file import write_onnx
from .openvino_file import write_openvino

Pixels = NDArray[Any]
TOLERANCE = 1 / 255  # of the range of the target: one step of 8 bits
CLASS_TOLERANCE = 1e-3  # fraction of the pixels of label maps
SIDE = 64  # pixels, at least, of the unit of SIZES
SIZES = ((1, 1, 2), (4, 2, 1), (1, 3, 4))  # batch, and height and width in multiples
SAMPLES = 4  # images to compare results with
WRITERS: dict[str, Callable[[ImageGraph, str, Path], None]] = {
    ".onnx": write_onnx,
    ".xml": write_openvino,
}


@dataclass(frozen=True)
class Deviation:
    """Deviation between the results of a file and those of PyTorch."""

    largest: float
    """Largest difference as a fraction of the target's range; 1 if a class differs."""
    changed: float
    """Fraction of the values that differ."""
    images: int
    """Images that were compared."""


def export(
    translator: Translator,
    header: Mapping[str, Any],
    path: Path,
    images: Sequence[Pixels],
) -> Deviation:
    """Write a translator as a file for another runtime, after comparing the results.

    Args:
        translator: The translator, on the CPU.
        header: The header of its model file, which is stored in the file.
        path: The file: .onnx, or .xml with a .bin file next to it.
        images: Images (h, w, channels) of the source domain to compare results with.

    Returns:
        The difference between the results of the file and those of the translator.

    Raises:
        UserError: The model cannot be exported, a package is missing, or the results differ by more
            than `TOLERANCE`. No file is written then.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        _write(translator, header, made)
        found = compare(translator, open_exported(made), images)
        difference = _checked(found, path, translator.target)
        publish(Path(folder), path)
    return difference


def publish(folder: Path, path: Path) -> None:
    """Write the files of a folder next to `path`, which is one of them. Raises UserError."""
    parts = sorted(folder.iterdir(), key=lambda one: one.suffix)  # the weights (.bin) first
    if len(parts) > 1:
        path.unlink(missing_ok=True)  # the old graph does not match the new weights
    for part in parts:
        write_bytes(path.with_name(part.name), part.read_bytes())


def with_runtime(translator: Translator, header: Mapping[str, Any], runtime: str) -> Translator:
    """Return a translator whose network runs in another runtime.

    Args:
        translator: The translator, on the CPU.
        header: The header of its model file.
        runtime: The name of a format.

    Raises:
        UserError: See `export`.
    """
    (kind,) = (one for one in EXPORT_FORMATS if one.name == runtime)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{kind.suffix}"
        _write(translator, header, path)
        run = open_exported(path)
    found = compare(translator, run, sample_images(translator)[0][:1])
    _checked(found, kind.runtime, translator.target)
    moved = copy.copy(translator)
    sizes = multiple_of(translator.network), smallest_of(translator.network)
    moved.network = ExportedNetwork(
        run, translator.source, translator.target, *sizes, **about_tiles(translator)
    )
    return moved


def compare(translator: Translator, run: Run, images: Sequence[Pixels]) -> Deviation:
    """Compare the results of a file with those of a translator, for several sizes and batches."""
    multiple, smallest = multiple_of(translator.network), smallest_of(translator.network)
    unit = -(-max(smallest, SIDE) // multiple) * multiple
    least = -(-smallest // multiple) * multiple
    sizes = [(batch, unit * height, unit * width) for batch, height, width in SIZES]
    largest, changed, count = 0.0, [], 0
    labels = translator.target.config.kind == "labels"
    span = 1.0 if labels else np.subtract(translator.target.high, translator.target.low)
    for batch, height, width in [*sizes, (1, least, least)]:
        for start in range(0, len(images), batch):
            cut = np.stack([of_size(image, height, width) for image in images[start:][:batch]])
            expected = np.stack(translator.pixels(list(cut))).astype(np.float64)
            difference = np.abs(run(cut).astype(np.float64) - expected) / span
            if labels:
                difference = difference.max(axis=3) > 0
            largest = max(largest, float(difference.max()))
            changed.append(float((difference > 0).mean()))
            count += len(cut)
    return Deviation(largest, float(np.mean(changed)), count)


def sample_images(translator: Translator) -> tuple[list[Pixels], str]:
    """Return images to compare results with, and a description of them.

    The images are photos of a demo. For label maps, they have random classes; for other domains
    than 8-bit grey and RGB, they are noise.
    """
    source = translator.source
    if source.config.kind == "labels":
        shape = SAMPLES, 128, 128, 1  # small areas, so that small images have several classes
        classes = np.random.default_rng(0).integers(0, source.config.width, shape)
        areas = classes.repeat(2, axis=1).repeat(2, axis=2)
        return [from_classes(one, source.config) for one in areas], "random classes"
    if source.dtype == "uint8" and source.config.channels in (1, 3):
        photos = Path(str(resources.files("viceversa") / "demos" / "earth" / "testA"))
        files = sorted(photos.glob("*.jpg"))[:SAMPLES]
        return [translator.read(file) for file in files], "photos of the demo"
    low, high = np.asarray(source.low), np.asarray(source.high)
    noise = np.random.default_rng(0).random((SAMPLES, 256, 256, source.config.channels))
    return list((low + noise * (high - low)).astype(source.dtype)), "noise"


def about_tiles(translator: Translator) -> dict[str, Any]:
    """Return the entries of a header that tiles of large images depend on."""
    limit = MemoryLimit(translator)
    try:
        receptive_field: int | None = limit.receptive_field
    except Unknown:
        receptive_field = None
    return {"receptive_field": receptive_field, "image_statistics": limit.image_statistics}


def _write(translator: Translator, header: Mapping[str, Any], path: Path) -> None:
    """Write a file with a header that describes it. Raises UserError."""
    network = translator.network
    graph = ImageGraph(translator).eval()
    described = {
        **header,
        "multiple": graph.multiple,
        "smallest": smallest_of(network),
        "policy": translator.policy,
        "flips": bool(getattr(network, "mirrored", ())),
        **about_tiles(translator),
    }
    WRITERS[path.suffix.lower()](graph, json.dumps(described), path)


def _checked(difference: Deviation, what: object, target: Domain) -> Deviation:
    """Return a deviation. Raises UserError if it is too large."""
    if target.config.kind == "labels":
        if difference.changed > CLASS_TOLERANCE:
            raise UserError(
                f"{what}: the classes of {difference.changed:.1%} of the pixels differ from those "
                "of PyTorch"
            )
        return difference
    if difference.largest > TOLERANCE:
        raise UserError(
            f"{what}: the results differ from those of PyTorch by up to {difference.largest:.1%} "
            "of the range of the target"
        )
    return difference


def of_size(image: Pixels, height: int, width: int) -> Pixels:
    """Return the upper left part of an image, mirrored where it is too small."""
    missing = max(0, height - image.shape[0]), max(0, width - image.shape[1])
    padded = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), "symmetric")
    return np.ascontiguousarray(padded[:height, :width])
