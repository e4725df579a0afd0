"""Augmentation of whole batches, on the training device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import DataConfig
from .transforms import Draw

LUMINANCE = (0.299, 0.587, 0.114)


def warps(config: DataConfig) -> bool:
    """Whether images are zoomed, turned, moved or slanted at all."""
    return any((config.zoom, config.rotate, config.shift, config.shear))


def warp(numbers: Tensor, draws: Sequence[Draw], config: DataConfig, nearest: bool) -> Tensor:
    """Zoom, turn, move and slant each image of (n, bands, h, w), mirrored at its edges.

    Bilinear, as floats; with `nearest` (numbers of classes) values stay what they were.
    """
    n, _, height, width = numbers.shape
    matrices = torch.tensor([_matrix(one, config, height, width) for one in draws])
    matrices = matrices.to(numbers.device, torch.get_default_dtype())
    where = F.affine_grid(matrices, [n, 1, height, width], align_corners=False)
    values = numbers.to(matrices.dtype)
    mode = "nearest" if nearest else "bilinear"
    warped = F.grid_sample(values, where, mode, "reflection", align_corners=False)
    return warped.round().to(numbers.dtype) if nearest else warped


def _matrix(draw: Draw, config: DataConfig, height: int, width: int) -> list[list[float]]:
    """Where each place of the result, from -1 to 1 a side, comes from in the image."""
    zoom, across, down, rotate, shear = draw.warp
    part = 1 - config.zoom * zoom
    room = (1 - part) + 2 * config.shift  # the side is 2 long
    angle, slant = math.radians(config.rotate * rotate), math.radians(config.shear * shear)
    cos, sin, tan = math.cos(angle), math.sin(angle), math.tan(slant)
    aspect = width / height  # so that a turn is one of pixels, not of shares
    return [
        [part * cos, part * (cos * tan - sin) / aspect, room * across],
        [part * sin * aspect, part * (sin * tan + cos), room * down],
    ]


def jitter(values: Tensor, draws: Sequence[Draw], strength: float) -> Tensor:
    """Brightness, contrast and (of three bands) saturation of each image in [-1, 1] changed."""
    chosen = values.new_tensor([one.jitter for one in draws]) * strength
    brightness, contrast, saturation = chosen.view(len(draws), 3, 1, 1, 1).unbind(1)
    if values.shape[1] == 3:
        weights = values.new_tensor(LUMINANCE).view(1, 3, 1, 1)
        grey = (values * weights).sum(dim=1, keepdim=True)
        values = grey + (values - grey) * (1 + saturation)
    mean = values.mean(dim=(1, 2, 3), keepdim=True)
    return (mean + (values - mean) * (1 + contrast) + brightness).clamp(-1, 1)
