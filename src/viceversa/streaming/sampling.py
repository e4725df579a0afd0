"""Estimate the statistics of norms from crops of an image instead of the whole image.

Mean and variance are computed over all crops together, as in batch norm, to estimate the mean and
variance of the image. With these statistics, a network needs one pass over the image and no files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .graph import Node, maps
from .statistics import Moments, Pointwise, with_statistics


@torch.inference_mode()
def with_sampled_statistics(network: nn.Module, nodes: Sequence[Node], crops: Tensor) -> list[Node]:
    """Return the maps of a network whose norms use the statistics of crops.

    Args:
        network: The network.
        nodes: Maps of the network for the image.
        crops: (n, channels, height, width) in [-1, 1], of a size that the network supports.
    """
    _, channels, height, width = crops.shape
    values, copies = dict[Node, Tensor](), dict[Node, Node]()
    of_crops = maps(network, (channels, height, width))
    last = {before: node for node in of_crops for before in node.inputs}
    for node, small in zip(nodes, of_crops, strict=True):
        function = small.pointwise
        if small.norm is not None:
            function = _norm(small.norm, values[small.inputs[0]])
        values[small] = _value(small, function, [values[one] for one in small.inputs], crops)
        inputs = tuple(copies[one] for one in node.inputs)
        copies[node] = dataclasses.replace(node, inputs=inputs, pointwise=function, norm=None)
        for before in small.inputs:
            if last[before] is small:
                values.pop(before, None)
    return [copies[node] for node in nodes]


def _norm(layer: nn.Module, before: Tensor) -> Pointwise:
    """Return a norm with the statistics of all crops together."""
    moments = Moments(before.shape[1])
    for crop in before:
        moments.add(crop[None])
    return with_statistics(layer, moments, before.device)


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
