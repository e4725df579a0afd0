"""Convolution with TensorFlow's padding `same`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SameConv(nn.Module):
    """Convolution with Keras's padding `same`: the output has ceil(side / stride) pixels per side.

    If the padding is odd, the additional row and column are after the image.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, bias: bool = True
    ):
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, bias=bias)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.convolution(F.pad(x, [*self.pads(x.shape[3]), *self.pads(x.shape[2])]))
        return out

    def pads(self, side: int) -> tuple[int, int]:
        """Return the padding before and after a side of the image."""
        total = max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)
        return total // 2, total - total // 2
