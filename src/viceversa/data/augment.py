"""Augmentation of whole batches, on the training device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images.nodata import LEAST_WEIGHT
from .config import DataConfig
from .transforms import Draw

LUMINANCE = (0.299, 0.587, 0.114)


def warps(config: DataConfig) -> bool:
    """Return whether images are zoomed, rotated, shifted or sheared."""
    return any((config.zoom, config.rotate, config.shift, config.shear))


def warp(
    numbers: Tensor,
    draws: Sequence[Draw],
    config: DataConfig,
    nearest: bool,
    missing: bool = False,
) -> Tensor:
    """Zoom, rotate, shift and shear each image of (n, channels, h, w), mirrored at its edges.

    Bilinear, as floats; with `nearest` (numbers of classes) values stay what they were. With
    `missing`, NaN stands for no data and does not contribute: the filter's weights are
    renormalised.
    """
    n, _, height, width = numbers.shape
    matrices = torch.tensor([_matrix(one, config, height, width) for one in draws])
    matrices = matrices.to(numbers.device, torch.get_default_dtype())
    where = F.affine_grid(matrices, [n, 1, height, width], align_corners=False)
    values = numbers.to(matrices.dtype)
    mode = "nearest" if nearest else "bilinear"

    def sampled(images: Tensor) -> Tensor:
        return F.grid_sample(images, where, mode, "reflection", align_corners=False)

    if missing:
        weights = sampled((~values.isnan()).to(values.dtype))
        moved = sampled(values.nan_to_num()) / weights
        return moved.masked_fill(weights < LEAST_WEIGHT, math.nan)
    warped = sampled(values)
    return warped.round().to(numbers.dtype) if nearest else warped


def _matrix(draw: Draw, config: DataConfig, height: int, width: int) -> list[list[float]]:
    """Return the affine matrix from output to input coordinates, from -1 to 1 each."""
    zoom, across, down, rotate, shear = draw.warp
    part = 1 - config.zoom * zoom
    room = (1 - part) + 2 * config.shift  # the side is 2 long
    angle, slant = math.radians(config.rotate * rotate), math.radians(config.shear * shear)
    cos, sin, tan = math.cos(angle), math.sin(angle), math.tan(slant)
    aspect = width / height  # so that a rotation is one of pixels
    return [
        [part * cos, part * (cos * tan - sin) / aspect, room * across],
        [part * sin * aspect, part * (sin * tan + cos), room * down],
    ]


def jitter(values: Tensor, draws: Sequence[Draw], strength: float, missing: bool = False) -> Tensor:
    """Change brightness, contrast and (of RGB) saturation of each image in [-1, 1].

    `missing`: some values are NaN, which stands for no data; they stay so, and do not contribute.
    """
    valid = None
    if missing:
        valid = ~values.isnan()
        values = values.nan_to_num()
    chosen = values.new_tensor([one.jitter for one in draws]) * strength
    brightness, contrast, saturation = chosen.view(len(draws), 3, 1, 1, 1).unbind(1)
    if values.shape[1] == 3:
        weights = values.new_tensor(LUMINANCE).view(1, 3, 1, 1)
        grey = (values * weights).sum(dim=1, keepdim=True)
        values = grey + (values - grey) * (1 + saturation)
    mean = values.mean(dim=(1, 2, 3), keepdim=True)
    if valid is not None:
        sums = (values * valid).sum(dim=(1, 2, 3), keepdim=True)
        mean = sums / valid.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    changed = (mean + (values - mean) * (1 + contrast) + brightness).clamp(-1, 1)
    return changed if valid is None else changed.masked_fill(~valid, math.nan)
