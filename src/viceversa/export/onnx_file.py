"""Write translators as ONNX files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..checkpoint.exported import ENTRY
from ..errors import UserError
from ..extras import import_extra
from ..inference.exported import INPUT, OUTPUT
from .graph import ImageGraph, example

LARGEST = 2 * 10**9  # bytes of a file


def write_onnx(graph: ImageGraph, header: str, path: Path) -> None:
    """Write a graph as an ONNX file.

    Args:
        graph: The graph.
        header: The header of the file, as JSON.
        path: The file.

    Raises:
        UserError: The graph has an operation that ONNX lacks, it is too large, or a package is
            missing.
    """
    if sum(weight.nbytes for weight in graph.parameters()) > LARGEST:
        raise UserError("the model has more than 2 GB of weights, the limit of an ONNX file")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        import_extra(package, "export", "an ONNX file")
    sides = (graph.multiple * torch.export.Dim(name) for name in ("rows", "columns"))
    with _quiet():
        try:
            program = torch.onnx.export(
                graph,
                (example(graph),),
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
    entry = model.metadata_props.add()
    entry.key, entry.value = ENTRY, header
    import_extra("onnx", "export", "an ONNX file").save(model, path)


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
