"""Receptive fields of networks, from their layers or measured with a small image."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from ..networks.sizes import multiple_of, supported_side
from .graph import Unknown, reach
from .statistics import NORMS, Moments, Pointwise, needs_statistics, with_statistics

SIDES = (128, 512, 2048)  # longer sides in pixels of the images for the measurement
NARROW = 32  # minimum length in pixels of the shorter side
SQUARE = ("kernel_size", "stride", "padding", "dilation", "output_padding")


def receptive_field(network: nn.Module, channels: int) -> int:
    """Return the number of pixels at an edge of a tile that depend on pixels outside of the tile.

    Tiles begin and end at multiples of `multiple` of the network. The statistics of norms, to which
    every pixel contributes, are not considered.

    Args:
        network: The network, in eval mode, without noise.
        channels: Channels of its images.

    Raises:
        Unknown: The receptive field is the whole image, or more than half of the largest image
            that it is measured with.
    """
    if all(map(_is_square, network.modules())):  # rows and columns are then treated in the same way
        try:
            return reach(network, channels, multiple_of(network))
        except Unknown:
            pass
    return measured(network, channels)


def uses_image_statistics(network: nn.Module) -> bool:
    """Return whether the norms of a network use statistics of each image."""
    return any(isinstance(one, NORMS) and needs_statistics(one) for one in network.modules())


@torch.inference_mode()
def measured(network: nn.Module, channels: int) -> int:
    """Measure the receptive field: change some pixels, and find the outputs that change.

    Norms keep the statistics of the unchanged image.
    """
    try:
        distances = [_distance(network, channels, dim) for dim in (2, 3)]
    except Exception as error:  # a user-defined network may raise any exception
        if isinstance(error, Unknown):
            raise
        raise Unknown(f"its receptive field could not be measured ({error})") from None
    return max(distances)


def _distance(network: nn.Module, channels: int, dim: int) -> int:
    """Return the receptive field along an axis of the image."""
    multiple, generator = multiple_of(network), torch.Generator().manual_seed(0)
    for side in sorted({supported_side(network, side) for side in SIDES}):
        fixed = _with_fixed_statistics(network)
        shape = [1, channels, *(2 * [supported_side(network, NARROW)])]
        shape[dim] = side
        image = torch.rand(shape, generator=generator) * 2 - 1
        before, start = fixed(image), side // 2 // multiple * multiple
        changed = torch.zeros(side, dtype=torch.bool)
        # NaN changes every output that is computed from it; a number also changes comparisons.
        for value in (math.nan, 1 - 2 * torch.rand(1, generator=generator).item()):
            other = image.clone()
            other.narrow(dim, start, multiple).fill_(value)
            changed |= (fixed(other) != before).movedim(dim, 0).flatten(1).any(dim=1)
        places = changed.nonzero()[:, 0].tolist() or [start]
        if places[0] > 0 and places[-1] < side - 1:
            return int(max(start - places[0], places[-1] - (start + multiple - 1)))
    raise Unknown(f"its receptive field is the whole image, or more than {side // 2} pixels")


class _FixedNorm(nn.Module):
    """Norm that uses the statistics of its first input for all inputs."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.function: Pointwise | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.function is None:
            moments = Moments(x.shape[1])
            moments.add(x)
            self.function = with_statistics(self.layer, moments, x.device)
        return self.function(x)


def _with_fixed_statistics(network: nn.Module) -> nn.Module:
    """Return a copy of a network, on the CPU, whose norms are `_FixedNorm`."""
    fixed = copy.deepcopy(network).float().cpu()
    for layer in list(fixed.modules()):
        for name, inner in layer.named_children():
            if isinstance(inner, NORMS) and needs_statistics(inner):
                setattr(layer, name, _FixedNorm(inner))
    return fixed


def _is_square(layer: nn.Module) -> bool:
    """Return whether a layer treats rows and columns in the same way."""
    settings = [getattr(layer, name, None) for name in SQUARE]
    return all(len(set(one)) <= 1 for one in settings if isinstance(one, tuple))
