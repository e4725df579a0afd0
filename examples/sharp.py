"""Regression on pairs with L1 and the gradient difference loss (Mathieu et al. 2016, Deep
Multi-Scale Video Prediction beyond Mean Square Error, eq. 6), without a discriminator.

viceversa train pix2pix DATA --import examples/sharp.py --method.name sharp
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from viceversa.batch import Batch
from viceversa.fields import number
from viceversa.losses import fill, l1
from viceversa.methods import METHODS
from viceversa.methods.base import MakeGenerator, Method, Turn


class Sharp(Method):
    """Paired images: the output and its edges must be those of the target."""

    paired: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Config:
        lambda_gradient: float = number(1.0, min=0)
        """Weight of the gradient difference loss."""

    def __init__(self, config: Config, channels: tuple[int, int], generator: MakeGenerator, _):
        super().__init__()
        self.config, self.g_ab = config, generator(*channels)

    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.g_ab]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.g_ab}

    def step(self, batch: Batch) -> Iterator[Turn]:
        fake_b = fill(self.g_ab(batch.a), batch.weight_b, batch.fill_b)
        losses = {"g_l1": l1(fake_b, batch.b, batch.weight_b)}
        losses["g_gradient"] = self.config.lambda_gradient * gradient_difference(fake_b, batch.b)
        yield "generator", losses


def gradient_difference(x: Tensor, y: Tensor) -> Tensor:
    """Mean difference of the contrast of neighboring pixels, (n, channels, h, w) each."""
    rows, columns = (l1(x.diff(dim=d).abs(), y.diff(dim=d).abs()) for d in (2, 3))
    return rows + columns


METHODS["sharp"] = (Sharp, Sharp.Config)
