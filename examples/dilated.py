"""A generator that never halves the image: dilated convolutions see far at full resolution.

viceversa train pix2pix DATA --import examples/dilated.py --generator.name dilated
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from viceversa.networks import GENERATORS
from viceversa.networks.config import NormName
from viceversa.networks.norms import make_norm


class Dilated(nn.Module):
    """Dilated 3x3 convolutions with a residual connection each (Yu and Koltun 2016, sec. 3).

    (n, in, h, w) -> (n, out, h, w) in [-1, 1], of any size.
    """

    multiple, smallest = 1, 1

    @dataclass(frozen=True)
    class Config:
        width: int = 64
        """Channels of every layer."""
        dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 1)
        """Dilation of each layer."""
        norm: NormName = "instance"
        """Normalization."""

    def __init__(self, config: Config, channels_in: int, channels_out: int):
        super().__init__()
        self.width = config.width
        self.first = nn.Conv2d(channels_in, config.width, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(config.width, config.width, 3, padding=dilation, dilation=dilation),
                make_norm(config.norm, config.width, 32),
                nn.ReLU(),
            )
            for dilation in config.dilations
        )
        self.last = nn.Sequential(nn.Conv2d(config.width, channels_out, 1), nn.Tanh())

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Outputs of the layers, counted from 0, for methods that compare features."""
        outputs = self._run(x)
        return [outputs[number] for number in layers]

    def feature_channels(self, layers: Sequence[int]) -> list[int]:
        """Channels of these features."""
        return [self.width for _ in layers]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self._run(x)[-1])
        return out

    def _run(self, x: Tensor) -> list[Tensor]:
        outputs = [self.first(x)]
        for layer in self.layers:
            outputs.append(outputs[-1] + layer(outputs[-1]))
        return outputs


GENERATORS["dilated"] = (Dilated, Dilated.Config)
