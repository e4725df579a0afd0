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

    If less than `LEAST_DATA` of a drawn crop has data (in both images of a pair), it is drawn again
    from all crops that have enough, or from those that have most. It depends on masks and draws
    alone. Images with data everywhere keep their crops.

    Args:
        images: Source and target (channels, h, w), resized; NaN: no data.
        draws: Augmentation of each.
        config: Settings of the data.
        paired: Whether both have one crop.
    """
    if not has_crop(config) or not any(map(_has_nan, images)):
        return list(draws)
    valid = [~one.isnan().any(dim=0) if one.is_floating_point() else None for one in images]
    every = [torch.ones(one.shape[1:], dtype=torch.bool) for one in images]
    masks = [all_valid if one is None else one for one, all_valid in zip(valid, every, strict=True)]
    if paired and masks[0].shape == masks[1].shape:
        masks = [masks[0] & masks[1]] * 2
    size = height_width(config.crop_size)
    return [_with_data(draw, mask, size) for draw, mask in zip(draws, masks, strict=True)]


def _has_nan(image: Tensor) -> bool:
    return image.is_floating_point() and bool(image.isnan().any())


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
