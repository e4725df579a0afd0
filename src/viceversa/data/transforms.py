"""From a picture to what the network sees: a size, a crop, a flip. All drawn beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..images import Pixels, resize
from .config import DataConfig


@dataclass(frozen=True)
class Draw:
    """Where to crop, as shares of the room there is, and whether to flip."""

    x: float
    y: float
    flip: bool


CENTRE = Draw(0.5, 0.5, False)


def draw(config: DataConfig, seed: tuple[int, ...]) -> Draw:
    """The random choices for one image, from (seed, epoch, index, domain) alone."""
    x, y, coin = np.random.default_rng(seed).random(3)
    return Draw(float(x), float(y), config.flip and coin < 0.5)


def fitted(height: int, width: int, config: DataConfig, name: object) -> tuple[int, int]:
    """The (height, width) that the preprocessing resizes an image to, before any crop."""
    load, crop = config.load_size, config.crop_size
    match config.preprocess:
        case "resize_and_crop":
            return load, load
        case "resize":
            return crop, crop
        case "scale_width" | "scale_width_and_crop":
            size = max(1, round(height * load / width)), load
        case "scale_shortside":
            scale = load / min(height, width)
            size = max(1, round(height * scale)), max(1, round(width * scale))
        case _:
            size = height, width
    if config.preprocess in ("crop", "scale_width_and_crop") and min(size) < crop:
        raise UserError(
            f"{name} is {size[1]}x{size[0]}, smaller than data.crop_size {crop}; "
            "choose a smaller crop, or data.preprocess resize_and_crop"
        )
    return size


def crops(config: DataConfig) -> bool:
    """Whether this preprocessing ends with a crop of `crop_size`."""
    return config.preprocess in ("resize_and_crop", "crop", "scale_width_and_crop")


def apply(pixels: Pixels, config: DataConfig, chosen: Draw) -> Pixels:
    """Crop and flip an image that was already resized."""
    if crops(config):
        size = config.crop_size
        top = min(int(chosen.y * (pixels.shape[0] - size + 1)), pixels.shape[0] - size)
        left = min(int(chosen.x * (pixels.shape[1] - size + 1)), pixels.shape[1] - size)
        pixels = pixels[top : top + size, left : left + size]
    return pixels[:, ::-1] if chosen.flip else pixels


__all__ = ["CENTRE", "Draw", "apply", "crops", "draw", "fitted", "resize"]
