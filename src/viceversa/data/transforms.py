"""Random choices of augmentation, crop and flip of one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..images.nodata import LEAST_WEIGHT
from .config import DataConfig


@dataclass(frozen=True)
class Augmentation:
    """The random choices for one image.

    `x`, `y`: where to crop, as fractions of the free space. `turns`: quarter turns. `warp`: from
    -1 to 1 each, the amount of zoom, two shifts, rotation and shear; `zoom` from 0 to 1.
    `jitter`: from -1 to 1, the amount of brightness, contrast and saturation.
    """

    x: float = 0.5
    y: float = 0.5
    flip: bool = False
    flip_vertical: bool = False
    turns: int = 0
    warp: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    color_jitter: tuple[float, ...] = (0.0, 0.0, 0.0)


NO_AUGMENTATION = Augmentation()


def draw_augmentation(config: DataConfig, seed: tuple[int, ...]) -> Augmentation:
    """Return the random choices for one image, which depend on `seed` only."""
    x, y, flip, vertical, turns, zoom, *rest = np.random.default_rng(seed).random(13).tolist()
    across, down, rotate, shear, *color_jitter = (2 * share - 1 for share in rest[:7])
    return Augmentation(
        x,
        y,
        config.flip and flip < 0.5,
        config.flip_vertical and vertical < 0.5,
        int(4 * turns) if config.rotate90 else 0,
        (zoom, across, down, rotate, shear),
        tuple(color_jitter),
    )


def has_crop(config: DataConfig) -> bool:
    """Return whether this preprocessing ends with a crop of `crop_size`."""
    return config.preprocess in ("resize_and_crop", "crop", "scale_width_and_crop")


def crop_and_flip(planes: Tensor, config: DataConfig, chosen: Augmentation) -> Tensor:
    """Crop, flip and rotate a resized image (channels, height, width); values stay exact."""
    if has_crop(config):
        size = config.crop_size
        top = min(int(chosen.y * (planes.shape[1] - size + 1)), planes.shape[1] - size)
        left = min(int(chosen.x * (planes.shape[2] - size + 1)), planes.shape[2] - size)
        planes = planes[:, top : top + size, left : left + size]
    assert not chosen.turns or planes.shape[1] == planes.shape[2]  # the settings see to it
    axes = [1] * chosen.flip_vertical + [2] * chosen.flip
    if axes or chosen.turns:
        planes = _flipped(planes, axes, chosen.turns)
    return planes.contiguous()


def _flipped(planes: Tensor, axes: list[int], turns: int) -> Tensor:
    if planes.dtype == torch.uint16:  # torch moves none of these; their bits move as int16
        return _flipped(planes.view(torch.int16), axes, turns).view(torch.uint16)
    return torch.rot90(planes.flip(axes), turns, (1, 2))


LUMINANCE = (0.299, 0.587, 0.114)


def has_warp(config: DataConfig) -> bool:
    """Return whether images are zoomed, rotated, shifted or sheared."""
    return any((config.zoom, config.rotate, config.shift, config.shear))


def warp(
    numbers: Tensor,
    draws: Sequence[Augmentation],
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


def _matrix(
    draw_augmentation: Augmentation, config: DataConfig, height: int, width: int
) -> list[list[float]]:
    """Return the affine matrix from output to input coordinates, from -1 to 1 each."""
    zoom, across, down, rotate, shear = draw_augmentation.warp
    part = 1 - config.zoom * zoom
    room = (1 - part) + 2 * config.shift  # the side is 2 long
    angle, slant = math.radians(config.rotate * rotate), math.radians(config.shear * shear)
    cos, sin, tan = math.cos(angle), math.sin(angle), math.tan(slant)
    aspect = width / height  # so that a rotation is one of pixels
    return [
        [part * cos, part * (cos * tan - sin) / aspect, room * across],
        [part * sin * aspect, part * (sin * tan + cos), room * down],
    ]


def color_jitter(
    values: Tensor, draws: Sequence[Augmentation], strength: float, missing: bool = False
) -> Tensor:
    """Change brightness, contrast and (of RGB) saturation of each image in [-1, 1].

    `missing`: some values are NaN, which stands for no data; they stay so, and do not contribute.
    """
    valid = None
    if missing:
        valid = ~values.isnan()
        values = values.nan_to_num()
    chosen = values.new_tensor([one.color_jitter for one in draws]) * strength
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
