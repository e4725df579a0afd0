"""Random choices of augmentation, crop and flip of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .config import DataConfig


@dataclass(frozen=True)
class Draw:
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
    jitter: tuple[float, ...] = (0.0, 0.0, 0.0)


CENTRE = Draw()


def draw(config: DataConfig, seed: tuple[int, ...]) -> Draw:
    """Return the random choices for one image, which depend on `seed` only."""
    x, y, flip, vertical, turns, zoom, *rest = np.random.default_rng(seed).random(13).tolist()
    across, down, rotate, shear, *jitter = (2 * share - 1 for share in rest[:7])
    return Draw(
        x,
        y,
        config.flip and flip < 0.5,
        config.flip_vertical and vertical < 0.5,
        int(4 * turns) if config.rotate90 else 0,
        (zoom, across, down, rotate, shear),
        tuple(jitter),
    )


def crops(config: DataConfig) -> bool:
    """Return whether this preprocessing ends with a crop of `crop_size`."""
    return config.preprocess in ("resize_and_crop", "crop", "scale_width_and_crop")


def cut(planes: Tensor, config: DataConfig, chosen: Draw) -> Tensor:
    """Crop, flip and rotate a resized image (channels, height, width); values stay exact."""
    if crops(config):
        size = config.crop_size
        top = min(int(chosen.y * (planes.shape[1] - size + 1)), planes.shape[1] - size)
        left = min(int(chosen.x * (planes.shape[2] - size + 1)), planes.shape[2] - size)
        planes = planes[:, top : top + size, left : left + size]
    assert not chosen.turns or planes.shape[1] == planes.shape[2]  # the settings see to it
    axes = [1] * chosen.flip_vertical + [2] * chosen.flip
    if axes or chosen.turns:
        planes = _moved(planes, axes, chosen.turns)
    return planes.contiguous()


def _moved(planes: Tensor, axes: list[int], turns: int) -> Tensor:
    if planes.dtype == torch.uint16:  # torch moves none of these; their bits move as int16
        return _moved(planes.view(torch.int16), axes, turns).view(torch.uint16)
    return torch.rot90(planes.flip(axes), turns, (1, 2))
