"""Convolution with the padding that TensorFlow calls `same`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SameConv(nn.Module):
    """A convolution padded as Keras's `same`: the output has ceil(side / stride) pixels a side.

    Where the padding is odd in number, the extra row and column come after the image.
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
        """How many pixels go before and after a side of the image."""
        total = max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)
        return total // 2, total - total // 2
