"""Sampling with a fixed low-pass filter: Zhang, Making Convolutional Networks Shift-Invariant
Again, 2019; the filters are those of CUT."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BlurDown(nn.Module):
    """Blur with [1, 2, 1] / 4 along both axes and keep every second row and column.

    (n, channels, h, w) -> (n, channels, ceil(h / 2), ceil(w / 2)), padded by reflection.
    """

    def forward(self, x: Tensor) -> Tensor:
        # Computed on the device instead of a buffer, which model files and checkpoints would store.
        line = 2 - torch.arange(-1, 2, device=x.device, dtype=x.dtype).abs()
        kernel = (line[:, None] * line / 16).expand(x.shape[1], 1, 3, 3)
        padded = F.pad(x, [1, 1, 1, 1], mode="reflect")
        return F.conv2d(padded, kernel, stride=2, groups=x.shape[1])


class BlurUp(nn.Upsample):
    """Double height and width and blur with [1, 3, 3, 1] / 4 along both axes.

    (n, channels, h, w) -> (n, channels, 2 h, 2 w), padded by replication. This is bilinear
    interpolation: each pixel is 3/4 of its nearest source pixel and 1/4 of the next one.
    """

    def __init__(self) -> None:
        super().__init__(scale_factor=2, mode="bilinear", align_corners=False)
