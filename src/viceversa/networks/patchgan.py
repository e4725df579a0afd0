"""Discriminators: PatchGAN scores overlapping patches, PixelGAN single pixels."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from ..fields import pixels_text
from .antialias import BlurDown
from .config import PatchGANConfig, PixelGANConfig
from .init import init_weights
from .norms import has_shift, make_norm
from .patch_grid import PatchGrid, grid_of_layers
from .same import SameConv
from .spectral import normalize_spectrum


class PatchGAN(nn.Module):
    """Score map with one logit for each overlapping patch of the image (pix2pix, sec. 3.2.2).

    (n, in, h, w) -> [(n, 1, h', w')]. With `layers` 3 the patches are 70x70 (1 to 6: 16, 34, 70,
    142, 286, 574; with `antialias`: 18, 40, 84, 172, 348, 700), and the map of 256x256 is 30x30;
    with padding `same` that of 128x128 is 16x16. One scale: `scales` is for `MultiScalePatchGAN`.
    """

    Config = PatchGANConfig

    def __init__(self, config: PatchGANConfig, channels_in: int):
        super().__init__()
        bias = not has_shift(config.norm)
        self.whole_image, self.strided = config.whole_image, config.layers

        def convolution(before: int, after: int, stride: int, bias: bool = True) -> nn.Module:
            if config.padding == "same":
                return SameConv(before, after, 4, stride, bias)
            padding = 2 if config.padding == "two" else 1
            return nn.Conv2d(before, after, 4, stride, padding, bias=bias)

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
        if config.spectral_norm:
            normalize_spectrum(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        scores: Tensor = self.layers(x)
        return [scores.mean(dim=(1, 2, 3), keepdim=True) if self.whole_image else scores]

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the activations of all layers but the last, for feature matching.

        pix2pixHD's loss is 4 times the mean, over this list, of L1 between real and fake.
        """
        return _activations(self.layers, x)

    def size_advice(self, height: int, width: int) -> str:
        """Return the number of layers that supports a size, as a clause; empty if there is none."""
        for less in range(self.strided - 1, 0, -1):
            if _fits(min(height, width), less):
                size = pixels_text(height, width)
                return f"--discriminator.layers {less} or less supports {size}"
        return ""

    def patch_grid(self, height: int, width: int) -> PatchGrid:
        """Return the patch of each score. Raises ValueError for too small an image."""
        grid = grid_of_layers(self.layers, height, width)
        side = max(height, width)
        return PatchGrid(height, width, 1, 1, side, side, 0, 0) if self.whole_image else grid


def _fits(side: int, strided: int) -> bool:
    """Whether two 4x4 convolutions, each 1 smaller, fit after those of stride 2."""
    left: int = side // 2**strided
    return left > 2


class MultiScalePatchGAN(nn.Module):
    """Identical PatchGANs with separate weights on an image pyramid (pix2pixHD, sec. 3.2).

    (n, in, h, w) -> [(n, 1, h', w'), ...], the full size first. Each further scale is an average of
    3x3 pixels at every second pixel. With 2 scales, 3 layers and padding `two`, the maps of 256x256
    are 35x35 and 19x19.
    """

    Config = PatchGANConfig

    def __init__(self, config: PatchGANConfig, channels_in: int):
        super().__init__()
        one = replace(config, scales=1)
        self.scales = nn.ModuleList(PatchGAN(one, channels_in) for _ in range(config.scales))
        self.down = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        scores = []
        for network, image in zip(self.scales, self._pyramid(x), strict=True):
            scores += network(image)
        return scores

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the activations of all layers but the last of each scale, full size first."""
        activations = []
        for network, image in zip(self.scales, self._pyramid(x), strict=True):
            assert isinstance(network, PatchGAN)
            activations += network.features(image)
        return activations

    def size_advice(self, height: int, width: int) -> str:
        """Return the number of scales that supports a size, as a clause; empty if there is none."""
        for less in range(len(self.scales) - 1, 0, -1):
            if _fits(-(-min(height, width) // 2 ** (less - 1)), self._finest.strided):
                return (
                    f"--discriminator.scales {less} or less supports {pixels_text(height, width)}"
                )
        return ""

    def patch_grid(self, height: int, width: int) -> PatchGrid:
        """Return the patch of each score of the full size. Raises ValueError as `PatchGAN`."""
        return self._finest.patch_grid(height, width)

    @property
    def _finest(self) -> PatchGAN:
        finest = self.scales[0]
        assert isinstance(finest, PatchGAN)
        return finest

    def _pyramid(self, x: Tensor) -> list[Tensor]:
        images = [x]
        while len(images) < len(self.scales):
            images.append(self.down(images[-1]))
        return images


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
