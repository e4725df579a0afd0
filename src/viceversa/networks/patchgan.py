"""The discriminators: PatchGAN judges overlapping patches, PixelGAN single pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .init import InitName, init_weights
from .limits import within
from .norms import NormName, has_shift, make_norm


class SameConv(nn.Module):
    """A convolution padded as Keras's `same`: the output has ceil(side / stride) pixels a side.

    Where the padding is odd in number, the extra row and column come after the image.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1,
                 bias: bool = True):  # fmt: skip
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


class PatchGAN(nn.Module):
    """A map of logits: each rests on one patch and says how real it looks (pix2pix, sec. 3.2.2).

    (n, in, h, w) -> (n, 1, h', w'). `layers` 3 sees patches of 70x70 (1 to 6: 16, 34, 70, 142,
    286, 574), and makes a 30x30 map of 256x256, or with padding `same` 16x16 of 128x128.
    """

    @dataclass(frozen=True)
    class Config:
        width: int = 64
        """Channels of the first layer; they double at each layer, up to 8 times this."""
        layers: int = 3
        """Convolutions of stride 2, from 1 to 6."""
        norm: NormName = "batch"
        """Normalisation; the first and the last convolution have none."""
        groups: int = 32
        """Groups of the `group` norm."""
        padding: Literal["one", "same"] = "one"
        """One pixel all around, or Keras's `same`."""
        whole_image: bool = False
        """Average the map to one number per image: the usual discriminator, to compare with."""
        init: InitName = "normal"
        """How weights start."""

        def __post_init__(self) -> None:
            within("width", self.width, 1)
            within("layers", self.layers, 1, 6)
            within("groups", self.groups, 1)

    def __init__(self, config: Config, channels_in: int):
        super().__init__()
        bias = not has_shift(config.norm)
        self.whole_image = config.whole_image

        def convolution(before: int, after: int, stride: int, bias: bool = True) -> nn.Module:
            if config.padding == "same":
                return SameConv(before, after, 4, stride, bias)
            return nn.Conv2d(before, after, 4, stride, 1, bias=bias)

        layers = [convolution(channels_in, config.width, 2), nn.LeakyReLU(0.2)]
        before = config.width
        for number in range(1, config.layers + 1):
            after = config.width * min(2**number, 8)
            stride = 2 if number < config.layers else 1
            layers += [
                convolution(before, after, stride, bias),
                make_norm(config.norm, after, config.groups),
                nn.LeakyReLU(0.2),
            ]
            before = after
        self.layers = nn.Sequential(*layers, convolution(before, 1, 1))
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out.mean(dim=(1, 2, 3), keepdim=True) if self.whole_image else out


class PixelGAN(nn.Module):
    """1x1 convolutions: judges each pixel's colour by itself (pix2pix, sec. 6.1.2).

    (n, in, h, w) -> (n, 1, h, w) logits.
    """

    @dataclass(frozen=True)
    class Config:
        width: int = 64
        """Channels of the first layer; the second has twice as many."""
        norm: NormName = "batch"
        """Normalisation of the second layer."""
        groups: int = 32
        """Groups of the `group` norm."""
        init: InitName = "normal"
        """How weights start."""

        def __post_init__(self) -> None:
            within("width", self.width, 1)
            within("groups", self.groups, 1)

    def __init__(self, config: Config, channels_in: int):
        super().__init__()
        bias = not has_shift(config.norm)
        width = config.width
        self.layers = nn.Sequential(
            nn.Conv2d(channels_in, width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            make_norm(config.norm, 2 * width, config.groups),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out
