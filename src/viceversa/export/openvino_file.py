"""Write translators as OpenVINO files."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoint.exported import ENTRY
from ..errors import UserError
from ..extras import import_openvino
from ..inference.exported import INPUT, OUTPUT
from .graph import ImageGraph, example

SUBSTITUTES = {torch.uint16: torch.int32}  # OpenVINO lacks these types of torch


def write_openvino(graph: ImageGraph, header: str, path: Path) -> None:
    """Write a graph as an OpenVINO file (.xml), and its weights next to it (.bin).

    The graph is traced, not converted from an ONNX file, because ONNX graphs have guards on sizes.

    Args:
        graph: The graph.
        header: The header of the file, as JSON.
        path: The file.

    Raises:
        UserError: OpenVINO does not support an operation of the graph, or the package is missing.
    """
    openvino = import_openvino()
    extensions = importlib.import_module("openvino.frontend.pytorch")
    images, dtype = example(graph), graph.dtype
    types = [
        openvino.Type(torch.zeros(1, dtype=one).numpy().dtype) for one in (images.dtype, dtype)
    ]
    shape = openvino.PartialShape([-1, -1, -1, images.shape[3]])
    graph.dtype = SUBSTITUTES.get(dtype, dtype)
    with warnings.catch_warnings(action="ignore"):  # of torch.jit, which OpenVINO uses
        try:
            model = openvino.convert_model(
                graph,
                example_input=images.to(SUBSTITUTES.get(images.dtype, images.dtype)),
                input=[(INPUT, shape)],
                extension=[extensions.ConversionExtension("aten::flip", _flip)],
            )
        except Exception as error:  # OpenVINO has its own types
            reason = next((line for line in str(error).splitlines() if line.strip()), "unknown")
            raise UserError(f"OpenVINO cannot convert the network: {reason}") from None
    finished = openvino.preprocess.PrePostProcessor(model)
    finished.input().tensor().set_element_type(types[0])
    finished.output().tensor().set_element_type(types[1])
    model = finished.build()
    model.outputs[0].get_tensor().set_names({OUTPUT})
    model.set_rt_info(header, ENTRY)
    openvino.save_model(model, path, compress_to_fp16=False)


def _flip(node: Any) -> Any:
    """Convert torch.flip, which OpenVINO lacks."""
    operations = importlib.import_module("openvino.opset15")
    axes = np.array(node.get_values_from_const_input(1), dtype=np.int64)
    start, stop, step = (np.full_like(axes, one) for one in (-1, np.iinfo(np.int64).min, -1))
    return operations.slice(node.get_input(0), start, stop, step, axes).outputs()
