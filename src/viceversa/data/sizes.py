"""The size that an image gets before any crop. Knows no torch: a check asks it too."""

from __future__ import annotations

from ..errors import UserError
from .config import DataConfig


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
