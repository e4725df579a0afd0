"""Flows: displacements (n, 2, h, w) of rows and columns, in pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses import Weight, at_least_float32


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Sample images at displaced positions, bilinearly: output(x) = image(x + flow(x)).

    Positions outside of the image get the value of its border. Half precision is converted to
    float32.

    Args:
        images: (n, channels, h, w).
        flow: (n, 2, h, w), rows and columns in pixels.
    """
    images, flow = at_least_float32(images), at_least_float32(flow)
    height, width = images.shape[2:]
    rows = torch.arange(height, device=flow.device)[:, None] + flow[:, 0]
    columns = torch.arange(width, device=flow.device) + flow[:, 1]
    # In this convention whole pixels stay exact at sides that are powers of two.
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=3)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def smoothness(flow: Tensor) -> Tensor:
    """Return the mean squared difference of neighbours of a flow, of rows plus of columns.

    It is 0 for a constant flow (RegGAN, L_Smooth).

    Args:
        flow: (n, 2, h, w) in pixels.
    """
    down, right = at_least_float32(flow).diff(dim=2), at_least_float32(flow).diff(dim=3)
    return down.square().mean() + right.square().mean()


def squared_shift(flow: Tensor, weight: Weight = None) -> Tensor:
    """Return the squared length of the mean flow of each image, averaged over the images.

    Args:
        flow: (n, 2, h, w) in pixels.
        weight: Weight of each pixel; an image without data counts as 0.
    """
    flow = at_least_float32(flow)
    if weight is None:
        shift = flow.mean(dim=(2, 3))
    else:
        shift = (flow * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3)).clamp(min=1e-8)
    return shift.square().sum(dim=1).mean()
