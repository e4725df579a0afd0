"""The generator of CycleGAN."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..fields import pixels_text
from .antialias import BlurDown, BlurUp
from .config import ResNetConfig
from .init import init_weights
from .norms import has_shift, make_norm
from .spectral import normalize_spectrum


class ResNet(nn.Module):
    """Downsampling by 4, residual blocks, upsampling by 4 (CycleGAN, sec. 7.2).

    (n, in, h, w) -> (n, out, h, w) in [-1, 1]; h and w must be multiples of 2**downsamplings, 4.
    The paper uses 6 blocks for 128 px and 9 for 256 px and more. With 4 `downsamplings` it is the
    global generator of pix2pixHD (sec. 3.1). Source: Johnson et al. 2016.
    """

    Config = ResNetConfig

    def __init__(self, config: ResNetConfig, channels_in: int, channels_out: int):
        super().__init__()
        self.downsamplings, self.channels_in = config.downsamplings, channels_in
        self.multiple = 2**config.downsamplings
        self.smallest = 2 * self.multiple  # reflection padding needs two pixels
        bias = not has_shift(config.norm)
        width = config.width

        def norm_relu(channels: int) -> list[nn.Module]:
            return [make_norm(config.norm, channels, config.groups), nn.ReLU()]

        layers: list[nn.Module] = [nn.ReflectionPad2d(3)]
        layers += [nn.Conv2d(channels_in, width, 7, bias=bias), *norm_relu(width)]
        for _ in range(config.downsamplings):
            stride = 1 if config.antialias else 2
            layers += [nn.Conv2d(width, 2 * width, 3, stride, 1, bias=bias), *norm_relu(2 * width)]
            layers += [BlurDown()] if config.antialias else []
            width *= 2
        layers += [ResidualBlock(width, config) for _ in range(config.blocks)]
        for _ in range(config.downsamplings):
            layers += [*_double(width, width // 2, bias, config), *norm_relu(width // 2)]
            width //= 2
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, channels_out, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        init_weights(self, config.init)
        if config.spectral_norm:
            normalize_spectrum(self)

    def size_advice(self, height: int, width: int) -> str:
        """Return the downsamplings that support a size, as a clause; empty if there are none."""
        for less in range(self.downsamplings - 1, 0, -1):
            if height % 2**less == width % 2**less == 0 and min(height, width) >= 2 * 2**less:
                size = pixels_text(height, width)
                return f"--generator.downsamplings {less} or less supports {size}"
        return ""

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of the modules `layers`, counted from 0 (CUT, sec. 3).

        CUT's 0, 4, 8, 12, 16 with `antialias`, and 0, 4, 7, 10, 14 without, are the padded image,
        the convolutions of both downsampling layers before their norm, and blocks 1 and 5.
        """
        outputs = []
        for module in list(self.layers)[: max(layers) + 1]:
            x = module(x)
            outputs.append(x)
        return [outputs[number] for number in layers]

    def feature_channels(self, layers: Sequence[int]) -> list[int]:
        """Return the channels of the `features` of these modules."""
        channels = [self.channels_in]
        for module in self.layers:
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                channels.append(module.out_channels)
            else:
                channels.append(channels[-1])
        return [channels[number + 1] for number in layers]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class ResidualBlock(nn.Module):
    """Rk of the paper: x + two 3x3 convolutions with reflection padding, no activation after."""

    def __init__(self, channels: int, config: ResNetConfig):
        super().__init__()
        bias = not has_shift(config.norm)

        def convolution() -> list[nn.Module]:
            norm = make_norm(config.norm, channels, config.groups)
            return [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm]

        dropout = [nn.Dropout(config.dropout)] if config.dropout else []
        self.layers = nn.Sequential(*convolution(), nn.ReLU(), *dropout, *convolution())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


def _double(before: int, after: int, bias: bool, config: ResNetConfig) -> list[nn.Module]:
    """Layers that double height and width."""
    if config.upsample == "transposed" and not config.antialias:
        return [nn.ConvTranspose2d(before, after, 3, 2, 1, 1, bias=bias)]
    larger = BlurUp() if config.antialias else nn.Upsample(scale_factor=2)
    return [larger, nn.Conv2d(before, after, 3, 1, 1, bias=bias)]
