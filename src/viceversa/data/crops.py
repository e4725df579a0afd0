"""Crops that contain data, chosen from the mask of an image alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..fields import height_width
from .config import DataConfig
from .transforms import Augmentation, has_crop

LEAST_DATA = 0.25  # fraction of a crop that has data, if any crop of the image has as much


def crops_with_data(
    images: Sequence[Tensor], draws: Sequence[Augmentation], config: DataConfig, paired: bool
) -> list[Augmentation]:
    """Return the augmentation of a source and a target, with other crops if they lack data.

    A crop is drawn again if less than the fraction `LEAST_DATA` of it has data (in a pair, in both
    images). The new crop is one of those with enough data, or, if there is none, one of those with
    the most data. The result depends on masks and draws only. Images with data everywhere keep
    their crops.

    Args:
        images: Source and target (channels, h, w), resized; NaN: no data.
        draws: Augmentation of each.
        config: Settings of the data.
        paired: Whether both have one crop.
    """
    if not has_crop(config) or not lacks_data(images):
        return list(draws)
    masks = [~one.isnan().any(dim=0) for one in images]
    if paired and masks[0].shape == masks[1].shape:
        masks = [masks[0] & masks[1]] * 2
    size = height_width(config.crop_size)
    return [_with_data(draw, mask, size) for draw, mask in zip(draws, masks, strict=True)]


def lacks_data(images: Sequence[Tensor]) -> bool:
    """Return whether images have pixels without data (NaN)."""
    return any(image.is_floating_point() and bool(image.isnan().any()) for image in images)


def _with_data(draw: Augmentation, mask: Tensor, size: tuple[int, int]) -> Augmentation:
    """Return the augmentation with a crop of enough valid pixels; `mask`: (h, w), true: valid."""
    sums = F.pad(mask.int().cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32), (1, 0, 1, 0))
    rows = sums[size[0] :] - sums[: -size[0]]
    counts = rows[:, size[1] :] - rows[:, : -size[1]]
    needed = min(math.ceil(LEAST_DATA * size[0] * size[1]), int(counts.max()))
    height, columns = counts.shape
    top, left = (
        min(int(at * free), free - 1) for at, free in ((draw.y, height), (draw.x, columns))
    )
    if counts[top, left] >= needed:
        return draw
    allowed = (counts >= needed).flatten().nonzero()
    top, left = divmod(int(allowed[int(draw.other_crop * len(allowed))]), columns)
    return replace(draw, x=(left + 0.5) / columns, y=(top + 0.5) / height)
