"""Estimate the statistics of norms from crops instead of the whole image.

Mean and variance are computed over all crops together, as in batch norm. With these statistics, a
network needs one pass over an image and no files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..fields import counted
from .graph import Node, maps
from .operations import Operation
from .statistics import Moments, Pointwise, with_statistics


class SampledNorms(NamedTuple):
    """Norms of a network with the statistics of crops or windows."""

    source: str
    """What the statistics are computed from, such as `12 crops`."""
    functions: Sequence[Pointwise | Operation | None]
    """Pointwise function of each map of the network, including maps without a norm; an operation
    for norms whose statistics depend on the position."""
    pixels: int
    """Number of pixels of the crops or windows."""
    digest: str = ""
    """SHA-256 of the crops if they are from other images, else ""."""


@torch.inference_mode()
def sampled_norms(network: nn.Module, crops: Tensor) -> SampledNorms:
    """Return the norms of a network with the statistics of crops.

    Args:
        network: The network, in eval mode.
        crops: (n, channels, height, width) in [-1, 1], of a size that the network supports.

    Raises:
        Unknown: See `maps`.
    """
    _, channels, height, width = crops.shape
    nodes = maps(network, (channels, height, width))
    functions = forward(nodes, crops, _norm)
    return SampledNorms(counted(len(crops), "crop"), functions, len(crops) * height * width)


def forward(
    nodes: Sequence[Node], crops: Tensor, norm_of: Callable[[Node, Tensor], Pointwise]
) -> list[Pointwise | None]:
    """Compute the maps of crops; return the pointwise function of each map.

    Args:
        nodes: The maps, for the size of the crops.
        crops: (n, channels, height, width) in [-1, 1].
        norm_of: Returns the function of a norm that needs statistics, from the norm's input.
    """
    values, functions = dict[Node, Tensor](), list[Pointwise | None]()
    last = {before: node for node in nodes for before in node.inputs}
    for node in nodes:
        function = node.pointwise
        if node.norm is not None:
            function = norm_of(node, values[node.inputs[0]])
        functions.append(function)
        values[node] = _value(node, function, [values[one] for one in node.inputs], crops)
        for before in node.inputs:
            if last[before] is node:
                values.pop(before, None)
    return functions


def with_norms(nodes: Sequence[Node], norms: SampledNorms) -> list[Node]:
    """Return the maps of a network for an image, with norms that use the statistics of crops."""
    copies = dict[Node, Node]()
    for node, function in zip(nodes, norms.functions, strict=True):
        copy = dataclasses.replace(node, inputs=tuple(copies[one] for one in node.inputs))
        copy.norm = None
        if isinstance(function, Operation):
            copy.operations = (function,)
        else:
            copy.pointwise = function
        copies[node] = copy
    return list(copies.values())


def _norm(node: Node, before: Tensor) -> Pointwise:
    """Return a norm with the statistics of all crops together."""
    assert node.norm is not None
    moments = Moments(before.shape[1])
    for crop in before:
        moments.add(crop[None])
    return with_statistics(node.norm, moments, before.device)


def _value(
    node: Node, function: Pointwise | None, inputs: Sequence[Tensor], crops: Tensor
) -> Tensor:
    """Return a map of the crops."""
    if not node.inputs:
        return crops
    if node.joins:
        return inputs[0] + inputs[1] if node.joins == "add" else torch.cat(list(inputs), dim=1)
    (value,) = inputs
    if function is not None:
        return function(value)
    for one in node.operations:
        value = one.rows(value, 0, 0, one.shape[1])
    return value
