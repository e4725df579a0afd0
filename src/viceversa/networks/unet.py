"""U-Net generators: that of pix2pix, and that of Generative Deep Learning (GDL)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..fields import pixels_text
from .config import GDLUNetConfig, UNetConfig
from .init import init_weights
from .norms import has_shift, make_norm
from .same import SameConv


def _doublings(depth: int) -> list[int]:
    """Channels of each level as multiples of the first: 1, 2, 4, 8, 8, ..."""
    return [min(2**i, 8) for i in range(depth)]


def _depth_advice(height: int, width: int, depth: int, innermost: int) -> str:
    """Return a clause on the largest depth below `depth` that supports a size.

    `innermost` is the smallest side of the innermost map.
    """
    for less in range(depth - 1, 1, -1):
        multiple = 2**less
        if (
            height % multiple == width % multiple == 0
            and min(height, width) >= innermost * multiple
        ):
            return f"--generator.depth {less} or less supports {pixels_text(height, width)}"
    return ""


class UNet(nn.Module):
    """U-Net of pix2pix (sec. 3.2.1, 6.1.1); the paper uses depth 8 for 256 px, 7 for 128 px.

    (n, in, h, w) -> (n, out, h, w) in [-1, 1]; h and w must be multiples of 2**depth. Each encoder
    level halves the map. The input of each decoder level is the output of the level below,
    concatenated with the encoder's output of the same size (skip connection).
    """

    Config = UNetConfig

    def __init__(self, config: UNetConfig, channels_in: int, channels_out: int):
        super().__init__()
        self.multiple = self.smallest = 2**config.depth
        self.skip = config.skip
        self.widths = widths = [config.width * d for d in _doublings(config.depth)]
        # As in the reference implementation, so that its weights fit: with a norm that has a shift,
        # the first and the innermost convolution have neither norm nor bias.
        bias = not has_shift(config.norm)

        self.downs = nn.ModuleList()
        for level, (before, after) in enumerate(zip([channels_in, *widths], widths, strict=False)):
            outermost, innermost = level == 0, level == config.depth - 1
            down = nn.Sequential() if outermost else nn.Sequential(nn.LeakyReLU(0.2))
            down.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=bias))
            if not (outermost or innermost):  # a norm over the 1x1 bottleneck would erase it
                down.append(make_norm(config.norm, after, config.groups))
            self.downs.append(down)

        self.ups = nn.ModuleList()
        below = widths[-1]
        for number, after in enumerate(reversed(widths[:-1]), start=1):
            up = nn.Sequential(nn.ReLU(), *_double(below, after, bias, config.upsample))
            up.append(make_norm(config.norm, after, config.groups))
            last_dropped = config.dropout_from + config.dropout_layers - 1
            if config.dropout and config.dropout_from <= number <= last_dropped:
                up.append(nn.Dropout(config.dropout))
            self.ups.append(up)
            below = 2 * after if config.skip else after
        self.ups.append(
            nn.Sequential(
                nn.ReLU(), *_double(below, channels_out, True, config.upsample), nn.Tanh()
            )
        )
        init_weights(self, config.init)

    def size_advice(self, height: int, width: int) -> str:
        """Return the depth that supports a size, as a clause; empty if there is none."""
        return _depth_advice(height, width, len(self.downs), innermost=1)

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of the encoder levels `layers`, counted from 0 (CUT, sec. 3)."""
        outputs = _encode(self.downs[: max(layers) + 1], x)
        return [outputs[level] for level in layers]

    def feature_channels(self, layers: Sequence[int]) -> list[int]:
        """Return the channels of the `features` of these levels."""
        return [self.widths[level] for level in layers]

    def forward(self, x: Tensor) -> Tensor:
        skips = _encode(self.downs, x)
        x = self.ups[0](skips.pop())
        for up in self.ups[1:]:
            x = up(torch.cat([skips.pop(), x], dim=1) if self.skip else x)
        return x


def _encode(downs: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """The output of each encoder level."""
    outputs = []
    for down in downs:
        x = down(x)
        outputs.append(x)
    return outputs


def _double(channels_in: int, channels_out: int, bias: bool, upsample: str) -> list[nn.Module]:
    """Layers that double height and width."""
    if upsample == "transposed":
        return [nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1, bias=bias)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(channels_in, channels_out, 3, 1, 1, bias=bias)]


class GDLUNet(nn.Module):
    """U-Net of Generative Deep Learning, chapter 5: four levels, with a norm in the bottleneck.

    (n, in, h, w) -> (n, out, h, w) in [-1, 1]; h and w must be multiples of 2**depth. Encoder: 4x4
    convolution of stride 2, norm, ReLU. Decoder: nearest upsampling, 4x4 convolution `same`, norm,
    ReLU; the skip connection is concatenated after the output of the level below.
    """

    Config = GDLUNetConfig

    def __init__(self, config: GDLUNetConfig, channels_in: int, channels_out: int):
        super().__init__()
        self.multiple = 2**config.depth
        self.smallest = 2 * self.multiple  # a norm over a 1x1 bottleneck would erase it
        bias = not has_shift(config.norm)
        self.widths = widths = [config.width * 2**level for level in range(config.depth)]

        self.downs = nn.ModuleList()
        for before, after in zip([channels_in, *widths], widths, strict=False):
            convolution = SameConv(before, after, 4, stride=2, bias=bias)
            norm = make_norm(config.norm, after, config.groups)
            self.downs.append(nn.Sequential(convolution, norm, nn.ReLU()))

        self.ups = nn.ModuleList()
        below = widths[-1]
        for after in reversed(widths[:-1]):
            convolution = SameConv(below, after, 4, bias=bias)
            norm = make_norm(config.norm, after, config.groups)
            up = nn.Sequential(nn.Upsample(scale_factor=2), convolution, norm, nn.ReLU())
            if config.dropout:
                up.append(nn.Dropout(config.dropout))
            self.ups.append(up)
            below = 2 * after
        self.last = nn.Sequential(
            nn.Upsample(scale_factor=2), SameConv(below, channels_out, 4), nn.Tanh()
        )
        init_weights(self, config.init)

    def size_advice(self, height: int, width: int) -> str:
        """Return the depth that supports a size, as a clause; empty if there is none."""
        return _depth_advice(height, width, len(self.downs), innermost=2)

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of the encoder levels `layers`, counted from 0 (CUT, sec. 3)."""
        outputs = _encode(self.downs[: max(layers) + 1], x)
        return [outputs[level] for level in layers]

    def feature_channels(self, layers: Sequence[int]) -> list[int]:
        """Return the channels of the `features` of these levels."""
        return [self.widths[level] for level in layers]

    def forward(self, x: Tensor) -> Tensor:
        skips = _encode(self.downs, x)
        x = skips.pop()
        for up in self.ups:
            x = torch.cat([up(x), skips.pop()], dim=1)
        out: Tensor = self.last(x)
        return out
