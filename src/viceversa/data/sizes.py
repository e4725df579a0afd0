"""Size of an image before any crop. Needs no torch, as the check uses it."""

from __future__ import annotations

from ..errors import UserError
from ..images.framing import preprocessed
from .config import DataConfig


def fitted(height: int, width: int, config: DataConfig, name: object) -> tuple[int, int]:
    """Return the (height, width) to which the preprocessing resizes an image."""
    crop = config.crop_size
    size = preprocessed(height, width, config.preprocess, config.load_size, crop)
    if config.preprocess in ("crop", "scale_width_and_crop") and min(size) < crop:
        raise UserError(
            f"{name} is {size[1]}x{size[0]}, smaller than data.crop_size {crop}; "
            "choose a smaller crop, or data.preprocess resize_and_crop"
        )
    return size
