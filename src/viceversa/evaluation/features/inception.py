"""Inception network of December 2015, up to pool3, which FID and KID are defined by."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Inception(nn.Module):
    """(n, 3, 299, 299), RGB of (value - 128) / 128 -> features (n, 2048): pool3 ("Rethinking the
    Inception architecture", table 1).

    The weights differ from those of every later Inception-v3: average pooling ignores the padding,
    and the last block has max pooling where the others average. Batch norm is folded into the
    convolutions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _conv(3, 32, 3, stride=2),
            _conv(32, 32, 3),
            _conv(32, 64, 3, pad=1),
            _max_pool(),
            _conv(64, 80, 1),
            _conv(80, 192, 3),
            _max_pool(),
            *(
                _block_35(channels, pooled)
                for channels, pooled in ((192, 32), (256, 64), (288, 64))
            ),
            Branches(
                _conv(288, 384, 3, stride=2),
                nn.Sequential(
                    _conv(288, 64, 1), _conv(64, 96, 3, pad=1), _conv(96, 96, 3, stride=2)
                ),
                _max_pool(),
            ),
            *(_block_17(width) for width in (128, 160, 160, 192)),
            Branches(
                nn.Sequential(_conv(768, 192, 1), _conv(192, 320, 3, stride=2)),
                nn.Sequential(
                    _conv(768, 192, 1),
                    _row(192, 192),
                    _column(192, 192),
                    _conv(192, 192, 3, stride=2),
                ),
                _max_pool(),
            ),
            _block_8(1280, _average_pool()),
            _block_8(2048, nn.MaxPool2d(3, 1, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.layers(x)
        return maps.mean((2, 3))


class Branches(nn.Module):
    """Parallel branches of one input; their channels are concatenated."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _conv(
    channels_in: int,
    channels_out: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    pad: int | tuple[int, int] = 0,
) -> nn.Module:
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, pad)
    return nn.Sequential(conv, nn.ReLU(inplace=True))


def _row(channels_in: int, channels_out: int) -> nn.Module:
    return _conv(channels_in, channels_out, (1, 7), pad=(0, 3))


def _column(channels_in: int, channels_out: int) -> nn.Module:
    return _conv(channels_in, channels_out, (7, 1), pad=(3, 0))


def _average_pool() -> nn.Module:
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def _max_pool() -> nn.Module:
    return nn.MaxPool2d(3, 2)


def _block_35(channels: int, pooled: int) -> nn.Module:
    """A block of 35 x 35 maps."""
    return Branches(
        _conv(channels, 64, 1),
        nn.Sequential(_conv(channels, 48, 1), _conv(48, 64, 5, pad=2)),
        nn.Sequential(_conv(channels, 64, 1), _conv(64, 96, 3, pad=1), _conv(96, 96, 3, pad=1)),
        nn.Sequential(_average_pool(), _conv(channels, pooled, 1)),
    )


def _block_17(width: int) -> nn.Module:
    """A block of 17 x 17 maps; 7 x 7 convolutions are a row and a column."""
    return Branches(
        _conv(768, 192, 1),
        nn.Sequential(_conv(768, width, 1), _row(width, width), _column(width, 192)),
        nn.Sequential(
            _conv(768, width, 1),
            *(_column(width, width), _row(width, width), _column(width, width), _row(width, 192)),
        ),
        nn.Sequential(_average_pool(), _conv(768, 192, 1)),
    )


def _block_8(channels: int, pool: nn.Module) -> nn.Module:
    """A block of 8 x 8 maps."""
    return Branches(
        _conv(channels, 320, 1),
        nn.Sequential(_conv(channels, 384, 1), _cross()),
        nn.Sequential(_conv(channels, 448, 1), _conv(448, 384, 3, pad=1), _cross()),
        nn.Sequential(pool, _conv(channels, 192, 1)),
    )


def _cross() -> nn.Module:
    return Branches(_conv(384, 384, (1, 3), pad=(0, 1)), _conv(384, 384, (3, 1), pad=(1, 0)))
