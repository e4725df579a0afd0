"""The registration network of RegGAN."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ResNetConfig
from .init import init_weights
from .resnet import ResidualBlock

LEVELS = 7
BLOCK = ResNetConfig(norm="instance")


class RegistrationNet(nn.Module):
    """U-Net that returns the flow that aligns an image with its target (RegGAN).

    Two images (n, channels, h, w) -> flow (n, 2, h, w), rows and columns in pixels. The first of
    the 7 levels has `width` channels, the others twice as many. A level halves the map if both
    sides have at least 4 pixels: 7 times at 256 px as in the paper, less often for smaller images.
    The initial flow is almost zero.
    """

    def __init__(self, channels: int, width: int = 32):
        super().__init__()
        widths = [width] + (LEVELS - 1) * [2 * width]
        self.downs = nn.ModuleList(
            nn.Sequential(*_convolution(before, after, 3), ResidualBlock(after, BLOCK))
            for before, after in zip([2 * channels, *widths], widths, strict=False)
        )
        inner = 2 * widths[-1]
        self.bottleneck = nn.Sequential(
            *_convolution(widths[-1], inner, 1),
            *[ResidualBlock(inner, BLOCK) for _ in range(3)],
            *_convolution(inner, widths[-1], 1),
        )
        self.ups = nn.ModuleList(
            nn.Sequential(*_convolution(widths[-1] + skip, after, 3))
            for skip, after in zip(reversed(widths), reversed(widths), strict=True)
        )
        self.refine = nn.Sequential(ResidualBlock(width, BLOCK), *_convolution(width, width, 1))
        self.flow = nn.Conv2d(width, 2, 3, padding=1)
        init_weights(self, "kaiming")
        nn.init.normal_(self.flow.weight, 0.0, 1e-5)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        x, skips = torch.cat([image, target], dim=1), []
        for down in self.downs:
            x = down(x)
            skips.append(x)
            if min(x.shape[2:]) >= 4:  # the padding by reflection needs 2 pixels
                x = F.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for up in self.ups:
            skip = skips.pop()
            x = F.interpolate(x, skip.shape[2:], mode="bilinear")
            x = up(torch.cat([x, skip], dim=1))
        flow: Tensor = self.flow(self.refine(x))
        return flow


def _convolution(channels_in: int, channels_out: int, kernel: int) -> list[nn.Module]:
    """A convolution that keeps the size, and its activation."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
    return [convolution, nn.LeakyReLU(0.2)]
