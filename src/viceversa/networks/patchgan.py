"""Discriminators: PatchGAN scores overlapping patches, PixelGAN single pixels."""

from __future__ import annotations

from torch import Tensor, nn

from .antialias import BlurDown
from .config import PatchGANConfig, PixelGANConfig
from .init import init_weights
from .norms import has_shift, make_norm
from .patch_grid import PatchGrid, grid_of_layers
from .same import SameConv


class PatchGAN(nn.Module):
    """Score map with one logit for each overlapping patch of the image (pix2pix, sec. 3.2.2).

    (n, in, h, w) -> [(n, 1, h', w')]. With `layers` 3 the patches are 70x70 (1 to 6: 16, 34, 70,
    142, 286, 574; with `antialias`: 18, 40, 84, 172, 348, 700), and the map of 256x256 is 30x30;
    with padding `same` that of 128x128 is 16x16.
    """

    Config = PatchGANConfig

    def __init__(self, config: PatchGANConfig, channels_in: int):
        super().__init__()
        bias = not has_shift(config.norm)
        self.whole_image, self.strided = config.whole_image, config.layers

        def convolution(before: int, after: int, stride: int, bias: bool = True) -> nn.Module:
            if config.padding == "same":
                return SameConv(before, after, 4, stride, bias)
            return nn.Conv2d(before, after, 4, stride, 1, bias=bias)

        stride = 1 if config.antialias else 2
        blur = [BlurDown()] if config.antialias else []
        layers = [convolution(channels_in, config.width, stride), nn.LeakyReLU(0.2), *blur]
        before = config.width
        for number in range(1, config.layers + 1):
            after = config.width * min(2**number, 8)
            last = number == config.layers
            layers += [
                convolution(before, after, 1 if last else stride, bias),
                make_norm(config.norm, after, config.groups),
                nn.LeakyReLU(0.2),
                *([] if last else blur),
            ]
            before = after
        self.layers = nn.Sequential(*layers, convolution(before, 1, 1))
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> list[Tensor]:
        scores: Tensor = self.layers(x)
        return [scores.mean(dim=(1, 2, 3), keepdim=True) if self.whole_image else scores]

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the activations of all layers but the last, for feature matching."""
        return _activations(self.layers, x)

    def size_advice(self, height: int, width: int) -> str:
        """Return the number of layers that supports a size, as a clause; empty if there is none."""
        for less in range(self.strided - 1, 0, -1):
            if min(height, width) // 2**less > 2:  # two 4x4 convolutions follow, each 1 smaller
                return f"--discriminator.layers {less} or less supports {width}x{height}"
        return ""

    def patch_grid(self, height: int, width: int) -> PatchGrid:
        """Return the patch of each score. Raises ValueError for too small an image."""
        grid = grid_of_layers(self.layers, height, width)
        side = max(height, width)
        return PatchGrid(height, width, 1, 1, side, side, 0, 0) if self.whole_image else grid


class PixelGAN(nn.Module):
    """1x1 convolutions: one score per pixel (pix2pix, sec. 6.1.2).

    (n, in, h, w) -> [(n, 1, h, w)] logits.
    """

    Config = PixelGANConfig

    def __init__(self, config: PixelGANConfig, channels_in: int):
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

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.layers(x)]

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the activations of all layers but the last, for feature matching."""
        return _activations(self.layers, x)

    def patch_grid(self, height: int, width: int) -> PatchGrid:
        """Return the patch of each score: one pixel."""
        return grid_of_layers(self.layers, height, width)


def _activations(layers: nn.Sequential, x: Tensor) -> list[Tensor]:
    """The outputs of the nonlinearities, in order."""
    activations = []
    for layer in layers:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            activations.append(x)
    return activations
