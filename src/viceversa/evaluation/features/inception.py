"""The Inception network by whose features FID and KID are defined: that of 2015, up to pool3."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Inception(nn.Module):
    """(n, 3, 299, 299) of (value - 128) / 128, RGB -> (n, 2048): pool3 ("Rethinking the Inception
    architecture", table 1, in the weights of December 2015).

    These weights differ from every later Inception-v3: averages leave the padding out, and the last
    block takes a maximum where the others average. Batch norm is folded into the convolutions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _conv(3, 32, 3, stride=2), _conv(32, 32, 3), _conv(32, 64, 3, pad=1), _shrink(),
            _conv(64, 80, 1), _conv(80, 192, 3), _shrink(),
            _fine(192, 32), _fine(256, 64), _fine(288, 64),
            Beside(
                _conv(288, 384, 3, stride=2),
                nn.Sequential(
                    _conv(288, 64, 1), _conv(64, 96, 3, pad=1), _conv(96, 96, 3, stride=2)
                ),
                _shrink(),
            ),
            _middle(128), _middle(160), _middle(160), _middle(192),
            Beside(
                nn.Sequential(_conv(768, 192, 1), _conv(192, 320, 3, stride=2)),
                nn.Sequential(_conv(768, 192, 1), _row(192, 192), _column(192, 192),
                              _conv(192, 192, 3, stride=2)),
                _shrink(),
            ),
            _coarse(1280, _average()), _coarse(2048, nn.MaxPool2d(3, 1, 1)),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.layers(x)
        return maps.mean((2, 3))


class Beside(nn.Module):
    """Branches over one input, their channels one after the other."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _conv(
    before: int,
    after: int,
    side: int | tuple[int, int],
    stride: int = 1,
    pad: int | tuple[int, int] = 0,
) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, side, stride, pad), nn.ReLU(inplace=True))


def _row(before: int, after: int) -> nn.Module:
    return _conv(before, after, (1, 7), pad=(0, 3))


def _column(before: int, after: int) -> nn.Module:
    return _conv(before, after, (7, 1), pad=(3, 0))


def _average() -> nn.Module:
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def _shrink() -> nn.Module:
    return nn.MaxPool2d(3, 2)


def _fine(before: int, pooled: int) -> nn.Module:
    """A block on maps of 35 x 35."""
    return Beside(
        _conv(before, 64, 1),
        nn.Sequential(_conv(before, 48, 1), _conv(48, 64, 5, pad=2)),
        nn.Sequential(_conv(before, 64, 1), _conv(64, 96, 3, pad=1), _conv(96, 96, 3, pad=1)),
        nn.Sequential(_average(), _conv(before, pooled, 1)),
    )


def _middle(width: int) -> nn.Module:
    """A block on maps of 17 x 17: 7 x 7 as rows and columns."""
    return Beside(
        _conv(768, 192, 1),
        nn.Sequential(_conv(768, width, 1), _row(width, width), _column(width, 192)),
        nn.Sequential(_conv(768, width, 1), _column(width, width), _row(width, width),
                      _column(width, width), _row(width, 192)),
        nn.Sequential(_average(), _conv(768, 192, 1)),
    )  # fmt: skip


def _coarse(before: int, pool: nn.Module) -> nn.Module:
    """A block on maps of 8 x 8."""
    return Beside(
        _conv(before, 320, 1),
        nn.Sequential(_conv(before, 384, 1), _cross()),
        nn.Sequential(_conv(before, 448, 1), _conv(448, 384, 3, pad=1), _cross()),
        nn.Sequential(pool, _conv(before, 192, 1)),
    )


def _cross() -> nn.Module:
    return Beside(_conv(384, 384, (1, 3), pad=(0, 1)), _conv(384, 384, (3, 1), pad=(1, 0)))
