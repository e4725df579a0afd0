"""Write translators as ONNX files, and compare their results with those of PyTorch."""

from __future__ import annotations

import importlib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UserError
from ..files import write_bytes
from ..inference import Translator
from ..networks.sizes import multiple_of, smallest_of
from .graph import ImageGraph, example

Pixels = NDArray[Any]
Runner = Callable[[Pixels], Pixels]
TOLERANCE = 1 / 255  # of the range of the target: one step of 8 bits
SIZES = ((1, 1, 2), (4, 2, 1), (1, 3, 4))  # batch, and height and width in multiples
LARGEST = 2 * 10**9  # bytes of a file
PACKAGES = "onnx", "onnxscript", "onnxruntime"
INPUT, OUTPUT, METADATA = "images", "translated", "viceversa"


@dataclass(frozen=True)
class Deviation:
    """Deviation between the results of a file and those of PyTorch."""

    largest: float
    """As a fraction of the range of the target."""
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
    """Write a translator as an ONNX file, once its results were compared with those of PyTorch.

    Args:
        translator: The translator, on the CPU.
        header: The header of its model file, which is stored in the file.
        path: The file.
        images: Images (h, w, channels) of the source domain to compare results with.

    Returns:
        The difference between the results of the file and those of the translator.

    Raises:
        UserError: The model cannot be exported, a package is missing, or the results differ by more
            than `TOLERANCE`. No file is written then.
    """
    if path.suffix.lower() != ".onnx":
        raise UserError(f"-o {path}: name the file .onnx", option="-o", path=path)
    if sum(weight.nbytes for weight in translator.network.parameters()) > LARGEST:
        raise UserError("the model has more than 2 GB of weights, the limit of an ONNX file")
    for package in PACKAGES:
        _import(package)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        _write(translator, header, made)
        difference = compare(translator, runner(made), images)
        if difference.largest > TOLERANCE:
            raise UserError(
                f"{path} was not written: its results differ from those of PyTorch by up to "
                f"{difference.largest:.1%} of the range of the target",
                path=path,
            )
        write_bytes(path, made.read_bytes())
    return difference


def compare(translator: Translator, run: Runner, images: Sequence[Pixels]) -> Deviation:
    """Compare the results of a file with those of a translator, for several sizes and batches."""
    multiple, smallest = multiple_of(translator.network), smallest_of(translator.network)
    largest, changed, count = 0.0, [], 0
    span = np.subtract(translator.target.high, translator.target.low)
    for batch, height, width in SIZES:
        least = -(-smallest // multiple)
        size = max(height, least) * multiple, max(width, least) * multiple
        for start in range(0, len(images), batch):
            cut = np.stack([_of_size(image, *size) for image in images[start : start + batch]])
            expected = np.stack(translator.pixels(list(cut))).astype(np.float64)
            difference = np.abs(run(cut).astype(np.float64) - expected) / span
            largest = max(largest, float(difference.max()))
            changed.append(float((difference > 0).mean()))
            count += len(cut)
    return Deviation(largest, float(np.mean(changed)), count)


def _of_size(image: Pixels, height: int, width: int) -> Pixels:
    """Return the upper left part of an image, mirrored where it is too small."""
    missing = max(0, height - image.shape[0]), max(0, width - image.shape[1])
    padded = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), "symmetric")
    return np.ascontiguousarray(padded[:height, :width])


def runner(path: Path) -> Runner:
    """Return a function that runs an ONNX file with ONNX Runtime on the CPU."""
    runtime = _import("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: Pixels) -> Pixels:
        result: Pixels = session.run(None, {INPUT: images})[0]
        return result

    return run


def _write(translator: Translator, header: Mapping[str, Any], path: Path) -> None:
    graph, network = ImageGraph(translator).eval(), translator.network
    sides = (graph.multiple * torch.export.Dim(name) for name in ("rows", "columns"))
    with _quiet():
        try:
            program = torch.onnx.export(
                graph,
                (example(translator),),
                dynamo=True,
                dynamic_shapes={INPUT: dict(enumerate((torch.export.Dim("batch"), *sides)))},
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:  # an operation without equivalent
            reason = next((line for line in str(error).splitlines() if line.strip()), "unknown")
            raise UserError(f"the network cannot be written as an ONNX graph: {reason}") from None
    assert program is not None
    model = program.model_proto
    sizes = {"multiple": graph.multiple, "smallest": smallest_of(network)}
    described = {**header, **sizes, "policy": translator.policy}
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(described)
    _import("onnx").save(model, path)


def _import(name: str) -> Any:
    """Import a package of the extra `export`. Raises UserError if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(
            f"an ONNX file needs the package {name}: pip install 'viceversa[export]'"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide torch's warnings about its own code, and about packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
