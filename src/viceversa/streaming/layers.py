"""Convert layers of torch and of this package to operations on rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from ..networks.antialias import BlurDown, BlurUp
from ..networks.same import SameConv
from .operations import (
    Convolution,
    Operation,
    Padding,
    Shape,
    TransposedConvolution,
    Upsampling,
    pair,
)

POINTWISE = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.PReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
)


def operations(layer: nn.Module, before: Shape) -> list[Operation] | None:
    """Return the operations that a layer consists of; None for an unknown layer.

    Args:
        layer: The layer; not a norm or a pointwise layer.
        before: Shape of the input.
    """
    for kind, make in KINDS.items():
        if is_one_of(layer, (kind,)):
            made: list[Operation] | None = make(layer, before)
            return made
    return None


def is_known(layer: nn.Module) -> bool:
    """Return whether `operations` knows the kind of a layer."""
    return is_one_of(layer, tuple(KINDS))


def is_one_of(layer: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Return whether a layer has a type, and is not of a subclass that overrides `forward`."""
    return any(isinstance(layer, kind) and type(layer).forward is kind.forward for kind in kinds)


def _convolution(layer: nn.Conv2d, before: Shape) -> list[Operation] | None:
    if layer.padding_mode != "zeros":
        return None
    dilation = pair(layer.dilation)
    if layer.padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, pair(layer.kernel_size), strict=True)]
        (top, left), (bottom, right) = [t // 2 for t in totals], [t - t // 2 for t in totals]
    else:
        top, left = (0, 0) if layer.padding == "valid" else pair(layer.padding)
        bottom, right = top, left
    bias = None if layer.bias is None else layer.bias.detach()
    pads, stride = (left, right, top, bottom), pair(layer.stride)
    weight = layer.weight.detach()
    if max(top, bottom) > dilation[0] * (weight.shape[2] - 1):
        return None  # some rows would be computed from padding only
    return [Convolution(weight, bias, before, pads, stride, dilation, layer.groups)]


def _transposed(layer: nn.ConvTranspose2d, before: Shape) -> list[Operation]:
    return [TransposedConvolution(layer, before)]


def _same(layer: SameConv, before: Shape) -> list[Operation]:
    inner = layer.convolution
    pads = (*layer.pads(before[2]), *layer.pads(before[1]))
    bias = None if inner.bias is None else inner.bias.detach()
    return [Convolution(inner.weight.detach(), bias, before, pads, pair(inner.stride))]


def _padding(mode: str, layer: nn.ReflectionPad2d, before: Shape) -> list[Operation]:
    return [Padding(layer.padding, mode, before)]


def _upsample(layer: nn.Upsample, before: Shape) -> list[Operation] | None:
    factor = layer.scale_factor
    bilinear = layer.mode == "bilinear" and not layer.align_corners and factor == 2
    if layer.size is not None or not (layer.mode == "nearest" or bilinear):
        return None
    if isinstance(factor, tuple) or factor is None or factor != int(factor):
        return None
    return [Upsampling(int(factor), layer.mode, before)]


def _blur_down(layer: BlurDown, before: Shape) -> list[Operation]:
    padding = Padding((1, 1, 1, 1), "reflect", before)
    line = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (line[:, None] * line).expand(before[0], 1, 3, 3)
    blur = Convolution(kernel, None, padding.shape, stride=(2, 2), groups=before[0])
    return [padding, blur]


KINDS: dict[type[nn.Module], Callable[..., list[Operation] | None]] = {
    SameConv: _same,
    BlurDown: _blur_down,
    BlurUp: _upsample,
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _transposed,
    nn.ReflectionPad2d: partial(_padding, "reflect"),
    nn.ReplicationPad2d: partial(_padding, "replicate"),
    nn.Upsample: _upsample,
}
