"""Crops of a large image, to estimate its statistics."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..files import format_bytes
from ..networks.sizes import supported_side
from ..streaming import whole_memory

CROPS = 64  # at most
CROP_SIDES = (256, 128, 64)  # pixels; smaller ones if the memory is small


def sample_crops(
    network: nn.Module,
    read: Callable[[int, int], Tensor],
    shape: tuple[int, int, int],
    memory: int,
) -> Tensor:
    """Return evenly spaced crops of an image, as many as fit into memory."""
    channels, height, width = shape
    for crop in CROP_SIDES:
        sides = [min(supported_side(network, crop), side) for side in (height, width)]
        needed = whole_memory(network, (channels, sides[0], sides[1]))
        if needed <= memory:
            break
    else:
        raise UserError(
            f"{format_bytes(needed)} of memory are needed for the statistics of a crop, and "
            f"{format_bytes(memory)} may be used; raise --memory",
            option="--memory",
        )
    down, across = grid(min(memory // needed, CROPS), height / sides[0], width / sides[1])
    crops = []
    for top in torch.linspace(0, height - sides[0], down).long().tolist():
        rows = read(top, top + sides[0])
        for left in torch.linspace(0, width - sides[1], across).long().tolist():
            crops.append(rows[:, :, :, left : left + sides[1]])
    return torch.cat(crops)


def grid(most: int, high: float, wide: float) -> tuple[int, int]:
    """Return the rows and columns of at most `most` crops, about evenly spaced.

    Args:
        most: Maximum number of crops.
        high: Height of the image in crops.
        wide: Width of the image in crops.
    """
    down = max(1, min(math.ceil(high), round(math.sqrt(most * high / wide))))
    across = max(1, min(math.ceil(wide), most // down))
    return min(down, most), across
