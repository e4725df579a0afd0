"""Layers of a network and their connections, for one image size."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Tracer
from torch.fx import Node as TracedNode

from .layers import POINTWISE, is_known, is_one_of, operations
from .operations import Operation, Shape
from .statistics import NORMS, Pointwise, needs_statistics

ADD = (operator.add, operator.iadd, torch.add, "add", "add_")
CONCATENATE = (torch.cat, torch.concat, torch.concatenate)
FUNCTIONS = {  # pointwise functions and methods of tensors
    function: function
    for function in (
        torch.relu,
        torch.tanh,
        torch.sigmoid,
        nn.functional.relu,
        nn.functional.leaky_relu,
        nn.functional.gelu,
        nn.functional.silu,
        nn.functional.tanh,
    )
} | {name: getattr(torch.Tensor, name) for name in ("relu", "tanh", "sigmoid")}


class Unknown(Exception):
    """A network cannot be computed by rows; the message names the layer that prevents it."""


@dataclass(eq=False)
class Node:
    """Feature map of a network, and its computation from other maps."""

    name: str
    inputs: tuple[Node, ...]
    shape: Shape
    operations: tuple[Operation, ...] = ()
    """Layers that depend on neighbouring rows."""
    pointwise: Pointwise | None = None
    """Function of the rows of its input."""
    norm: nn.Module | None = None
    """Norm that needs the statistics of the whole input."""
    joins: str = ""
    """Operation that combines several inputs: `add` or `concatenate`."""

    @property
    def bytes(self) -> int:
        """Size of the map in float32."""
        return 4 * self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def arithmetic(self) -> int:
        """Multiplications for the whole map."""
        return sum(one.arithmetic for one in self.operations)


def maps(network: nn.Module, shape: Shape) -> list[Node]:
    """Return the maps of a network in the order of their computation; the last is its output.

    Args:
        network: The network, in eval mode.
        shape: (channels, height, width) of the image, whose sides the network supports.

    Raises:
        Unknown: A layer is unknown, or the layers depend on values of the image.
    """
    _refuse_hooks(network, "it")
    image = Node("image", (), shape)
    nodes, by_traced = [image], dict[TracedNode, Node]()
    modified = set[Any]()
    for traced in _trace(network).nodes:
        if modified.intersection(traced.all_input_nodes):
            raise Unknown(f"{traced.name} uses a map after another layer modified it in place")
        if _in_place(network, traced):
            modified.add(traced.args[0])
        if traced.op == "placeholder":
            by_traced[traced] = image
            continue
        inputs = tuple(by_traced[one] for one in traced.all_input_nodes)
        if traced.op == "output":
            if len(inputs) != 1:
                raise Unknown("it has several outputs")
            while nodes[-1] is not inputs[0]:  # maps that the output does not depend on
                nodes.pop()
            return nodes
        by_traced[traced] = _node(network, traced, inputs)
        nodes.append(by_traced[traced])
    raise Unknown("it has no output")


class _Tracer(Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        known = is_one_of(module, (*NORMS, *POINTWISE)) or is_known(module)
        return known or super().is_leaf_module(module, name)


def _trace(network: nn.Module) -> Graph:
    try:
        return _Tracer().trace(network)
    except Exception as error:  # any code of a user-defined network may fail under tracing
        raise Unknown(f"its forward pass cannot be traced ({error})") from None


def _node(network: nn.Module, traced: TracedNode, inputs: tuple[Node, ...]) -> Node:
    if traced.op == "call_module":
        layer = network.get_submodule(str(traced.target))
        return _layer(layer, str(traced.target), inputs)
    shapes, target = [one.shape for one in inputs], traced.target
    if target in ADD and len(inputs) == 2 and shapes[0] == shapes[1] and not traced.kwargs:
        return Node(traced.name, inputs, shapes[0], joins="add")
    together = traced.args[0] if target in CONCATENATE and traced.args else ()
    if together and _dim(traced) == 1 and len(inputs) == len(together):  # type: ignore[arg-type]
        channels = sum(shape[0] for shape in shapes)
        return Node(traced.name, inputs, (channels, *shapes[0][1:]), joins="concatenate")
    if target in FUNCTIONS and len(inputs) == 1:
        function, rest, options = FUNCTIONS[target], traced.args[1:], traced.kwargs
        in_place = _in_place(network, traced)

        def pointwise(rows: Tensor) -> Tensor:
            result: Tensor = function(rows.clone() if in_place else rows, *rest, **options)
            return result

        return Node(traced.name, inputs, shapes[0], pointwise=pointwise)
    raise Unknown(f"it computes {getattr(target, '__name__', target)}")


def _in_place(network: nn.Module, traced: TracedNode) -> bool:
    """Return whether a layer or function modifies its first argument."""
    if traced.op == "call_module":
        return bool(getattr(network.get_submodule(str(traced.target)), "inplace", False))
    options = (*traced.args[1:], traced.kwargs.get("inplace"))
    return traced.target in (operator.iadd, "add_") or any(one is True for one in options)


def _refuse_hooks(layer: nn.Module, name: str) -> None:
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise Unknown(f"{name} has forward hooks")


def _dim(traced: TracedNode) -> Any:
    return traced.args[1] if len(traced.args) > 1 else traced.kwargs.get("dim", 0)


def _layer(layer: nn.Module, name: str, inputs: tuple[Node, ...]) -> Node:
    (before,) = inputs
    _refuse_hooks(layer, name)
    if is_one_of(layer, NORMS):
        if needs_statistics(layer):
            return Node(name, inputs, before.shape, norm=layer)
        return Node(name, inputs, before.shape, pointwise=layer)
    if is_one_of(layer, POINTWISE):
        if layer.training and isinstance(layer, nn.Dropout | nn.Dropout2d):
            raise Unknown("it draws noise (dropout)")
        in_place = getattr(layer, "inplace", False)  # rows may be part of a buffer
        pointwise = (lambda rows: layer(rows.clone())) if in_place else layer
        return Node(name, inputs, before.shape, pointwise=pointwise)
    made = operations(layer, before.shape)
    if made is None:
        raise Unknown(f"{name} is {type(layer).__name__}, whose rows cannot be computed alone")
    return Node(name, inputs, made[-1].shape, operations=tuple(made))


def reach(network: nn.Module, channels: int, multiple: int) -> int:
    """Return the number of rows at an edge of a tile that depend on rows outside of the tile.

    The statistics of norms are not considered.

    Args:
        network: The network, in eval mode.
        channels: Channels of its images.
        multiple: Period of the network; tiles begin and end at multiples of it.

    Raises:
        Unknown: See `maps`.
    """
    periods = 16
    while True:
        middle = periods * multiple
        nodes = maps(network, (channels, 2 * middle, 2 * multiple))
        found = 0
        for row in range(multiple):
            low, high = _needs(nodes, middle + row)
            above, below = middle + row - low, high - 1 - middle - row
            for distance, first in ((above, row), (below, multiple - 1 - row)):
                # rows at `first`, `first + multiple`, ... from the edge need `distance` rows
                if distance > first:
                    found = max(found, first + (distance - 1 - first) // multiple * multiple + 1)
        if found < middle - multiple:
            return found
        periods *= 2  # rows beyond the edges of the image do not count


def _needs(nodes: list[Node], row: int) -> tuple[int, int]:
    """Return the range of image rows that an output row depends on."""
    ranges = {nodes[-1]: (row, row + 1)}
    for node in reversed(nodes):
        if node not in ranges:
            continue
        low, high = ranges[node]
        for one in reversed(node.operations):
            low, high = one.needs(low, high)
        for before in node.inputs:
            known = ranges.get(before, (low, high))
            ranges[before] = min(known[0], low), max(known[1], high)
    return ranges[nodes[0]]
