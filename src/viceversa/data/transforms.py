"""Random augmentation: drawn on the CPU, applied to batches on the training device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..fields import height_width
from ..images.nodata import LEAST_WEIGHT
from .config import DataConfig


@dataclass(frozen=True)
class Augmentation:
    """Random augmentation of one image."""

    x: float = 0.5
    """Position of the crop, as a fraction of the free width."""
    y: float = 0.5
    """Position of the crop, as a fraction of the free height."""
    flip: bool = False
    flip_vertical: bool = False
    rotations: int = 0
    """Number of rotations by 90 degrees."""
    warp: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    """Zoom in [0, 1]; horizontal and vertical shift, rotation and shear in [-1, 1]."""
    color_jitter: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Brightness, contrast and saturation in [-1, 1]."""
    other_crop: float = 0.5
    """Position among the crops with enough data, if the crop at `x`, `y` has too little."""


NO_AUGMENTATION = Augmentation()
LUMINANCE = (0.299, 0.587, 0.114)  # of RGB, ITU-R BT.601


def draw_augmentation(config: DataConfig, seed: tuple[int, ...]) -> Augmentation:
    """Draw the augmentation of one image, which depends only on `seed` and the settings."""
    x, y, flip, vertical, rotations, zoom, *rest = np.random.default_rng(seed).random(14).tolist()
    across, down, rotate, shear, *color_jitter = (2 * value - 1 for value in rest[:7])
    return Augmentation(
        x,
        y,
        config.flip and flip < 0.5,
        config.flip_vertical and vertical < 0.5,
        int(4 * rotations) if config.rotate90 else 0,
        (zoom, across, down, rotate, shear),
        tuple(color_jitter),
        rest[7],
    )


def has_crop(config: DataConfig) -> bool:
    """Return whether `data.preprocess` ends with a crop of `data.crop_size`."""
    return config.preprocess in ("resize_and_crop", "crop", "scale_width_and_crop")


def crop_and_flip(planes: Tensor, config: DataConfig, draw: Augmentation) -> Tensor:
    """Crop, flip and rotate a resized image (channels, height, width); values stay exact."""
    if has_crop(config):
        height, width = height_width(config.crop_size)
        top = min(int(draw.y * (planes.shape[1] - height + 1)), planes.shape[1] - height)
        left = min(int(draw.x * (planes.shape[2] - width + 1)), planes.shape[2] - width)
        planes = planes[:, top : top + height, left : left + width]
    assert not draw.rotations or planes.shape[1] == planes.shape[2]
    axes = [1] * draw.flip_vertical + [2] * draw.flip
    if axes or draw.rotations:
        planes = _flipped(planes, axes, draw.rotations)
    return planes.contiguous()


def _flipped(planes: Tensor, axes: list[int], rotations: int) -> Tensor:
    if planes.dtype == torch.uint16:  # not supported by torch
        return _flipped(planes.view(torch.int16), axes, rotations).view(torch.uint16)
    return torch.rot90(planes.flip(axes), rotations, (1, 2))


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
    """Zoom, rotate, shift and shear images, with reflection at the border.

    Args:
        numbers: Images (n, channels, h, w) as stored in their files.
        draws: Augmentation of each image.
        config: Settings of the data.
        nearest: Whether to use the nearest pixel, for class indices; else bilinear interpolation.
        missing: Whether NaN means no data: such pixels do not contribute, and the weights of the
            filter are renormalised.

    Returns:
        (n, channels, h, w), floats unless `nearest`.
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


def _matrix(draw: Augmentation, config: DataConfig, height: int, width: int) -> list[list[float]]:
    """Return the affine matrix from output to input coordinates, from -1 to 1 each."""
    zoom, across, down, rotate, shear = draw.warp
    part = 1 - config.zoom * zoom
    free = (1 - part) + 2 * config.shift  # coordinates go from -1 to 1
    angle, slant = math.radians(config.rotate * rotate), math.radians(config.shear * shear)
    cos, sin, tan = math.cos(angle), math.sin(angle), math.tan(slant)
    aspect = width / height  # pixels are square, coordinates are not
    return [
        [part * cos, part * (cos * tan - sin) / aspect, free * across],
        [part * sin * aspect, part * (sin * tan + cos), free * down],
    ]


def color_jitter(
    values: Tensor, draws: Sequence[Augmentation], strength: float, missing: bool = False
) -> Tensor:
    """Change brightness, contrast and (of RGB images) saturation.

    Args:
        values: Images (n, channels, h, w) in [-1, 1].
        draws: Augmentation of each image.
        strength: Maximum change, as a fraction.
        missing: Whether NaN means no data: such values stay NaN and do not contribute.

    Returns:
        (n, channels, h, w) in [-1, 1].
    """
    valid = None
    if missing:
        valid = ~values.isnan()
        values = values.nan_to_num()
    amounts = values.new_tensor([one.color_jitter for one in draws]) * strength
    brightness, contrast, saturation = amounts.view(len(draws), 3, 1, 1, 1).unbind(1)
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
