"""Estimate the memory of the maps of a network, for a whole image and for bands of rows.

The factors were measured on a CPU with a ResNet and a U-Net from 512 to 1024 px, with freed memory
kept in the process: layers copy their input to other memory formats, and the heap is fragmented.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..errors import UserError
from ..files import format_bytes
from .graph import Node, maps
from .operations import Convolution, Operation, Shape
from .passes import Pass, Plan

OF_WHOLE, OF_BAND = 2.25, 6.0
LIBRARIES = 35_000_000  # bytes of code that is loaded during the computation
BANDS = (1024, 512, 256, 128, 64, 32, 16, 8, 4)
"""Possible numbers of image rows in a band."""


def whole_memory(network: nn.Module, shape: Shape, tiles: bool = False, images: int = 1) -> int:
    """Return the bytes that a network needs for whole images.

    Args:
        network: The network, in eval mode.
        shape: (channels, height, width) of the image, whose sides the network supports.
        images: Number of images in a batch.

    Raises:
        Unknown: See `maps`.
    """
    nodes = maps(network, shape)
    last = {before: node for node in nodes for before in node.inputs}
    alive, peak = 0, 0
    for node in nodes:
        alive += node.bytes
        inner = sum(one.shape[1] * _row(one.shape) for one in node.operations[:-1])
        inner += sum(one.before[1] * _row(one.before) for one in node.operations if _copies(one))
        peak = max(peak, alive + inner)
        alive -= sum(one.bytes for one in set(node.inputs) if last[one] is node)
    return round(OF_WHOLE * peak * images) + _fixed(network)


def largest_band(
    network: nn.Module, nodes: Sequence[Node], plan: Plan, memory: int
) -> tuple[int, int]:
    """Return the rows of the largest band that fits into memory, and the memory it needs.

    Raises:
        UserError: The smallest band does not fit.
    """
    _, height, width = nodes[0].shape
    needed = 0
    for band in BANDS:
        if band < 2 * height or band == BANDS[-1]:
            needed = max(_band_memory(one, height, band) for one in plan.passes) + _fixed(network)
            if needed <= memory:
                return band, needed
    raise UserError(
        f"an image that is {width} pixels wide needs {format_bytes(needed)} of memory for "
        f"{BANDS[-1]} of its rows, and {format_bytes(memory)} may be used; raise --memory (by "
        "default half of the free memory)",
        option="--memory",
    )


def _band_memory(one: Pass, height: int, band: int) -> int:
    """Return the bytes of the rows that a pass computes at once or keeps for later rows."""
    largest = kept = 0
    for node in one.computed:
        for operation in node.operations:
            before, after = operation.before, operation.shape
            rows = [min(-(-band * shape[1] // height), shape[1]) for shape in (before, after)]
            size = sum(n * _row(shape) for n, shape in zip(rows, (before, after), strict=True))
            largest = max(largest, size)
            middle = after[1] // 2
            low, high = operation.needs(middle, middle + 1)
            kept += (high - low) * _row(before)
        size = sum(
            min(-(-band * b.shape[1] // height), b.shape[1]) * _row(b.shape)
            for b in (*node.inputs, node)
        )
        largest = max(largest, size)
    return round(OF_BAND * largest) + kept


def _copies(operation: Operation) -> bool:
    """Return whether a layer copies its input to pad opposite sides differently."""
    if not isinstance(operation, Convolution):
        return False
    left, right, top, bottom = operation.pads
    return left != right or top != bottom


def _row(shape: Shape) -> int:
    return 4 * shape[0] * shape[2]


def _fixed(network: nn.Module) -> int:
    """Return the bytes that do not depend on the image: copies of weights, and libraries."""
    return sum(4 * one.numel() for one in network.parameters()) + LIBRARIES
