"""Convolutions with many weights over a small map, as products of matrices.

The inner layers of a U-Net have millions of weights for maps of 16x16 and less. A convolution of
oneDNN brings such weights into a layout of its own before, and their gradient back after, which
takes longer than the arithmetic; a product of matrices takes them as they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MANY = 16  # weights for each value of the larger map: from there on it pays


def as_products(network: nn.Module) -> None:
    """Let a network's convolutions be products of matrices where that pays: on a CPU, in bf16.

    Forward passes in full precision stay as they are, and so does what weights are called.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and _plain(layer):
            layer.forward = partial(_either, layer, layer.forward)  # type: ignore[method-assign]


def _plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    sides = (layer.kernel_size, layer.stride, layer.dilation, layer.output_padding)
    square = all(len(set(values)) == 1 for values in sides)
    padded = isinstance(layer.padding, tuple) and len(set(layer.padding)) == 1
    folds = layer.output_padding[0] < layer.stride[0]  # torch's fold knows no other
    return square and padded and folds and layer.groups == 1 and layer.padding_mode == "zeros"


def _either(
    layer: nn.Conv2d | nn.ConvTranspose2d, convolve: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    pays = (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and layer.weight.numel() >= MANY * max(x.numel(), x.shape[0] * _made(layer, x))
    )
    if not pays:
        return convolve(x)
    if isinstance(layer, nn.ConvTranspose2d):
        return transposed_product(layer, x)
    return product_of(layer, x)


def _made(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> int:
    """Values that the layer makes of each image."""
    height, width = size_after(layer, x.shape[2], x.shape[3])
    return layer.out_channels * height * width


def size_after(layer: nn.Conv2d | nn.ConvTranspose2d, *sides: int) -> tuple[int, ...]:
    """A map's sides behind a layer."""
    kernel = layer.dilation[0] * (layer.kernel_size[0] - 1) + 1
    stride, padding = layer.stride[0], _padding(layer)
    if isinstance(layer, nn.ConvTranspose2d):
        more = layer.output_padding[0]
        return tuple((side - 1) * stride - 2 * padding + kernel + more for side in sides)
    return tuple((side + 2 * padding - kernel) // stride + 1 for side in sides)


def product_of(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """`layer(x)`: (n, in, h, w) -> (n, out, h', w'), the patches of a map beside each other.

    Patches overlap in the gradient, which therefore adds up in full precision.
    """
    n = x.shape[0]
    patches = F.unfold(_full(x), layer.kernel_size, layer.dilation, _padding(layer), layer.stride)
    columns = patches.transpose(0, 1).flatten(1)  # (in k k, n h' w')
    out = torch.mm(layer.weight.flatten(1), columns)
    height, width = size_after(layer, x.shape[2], x.shape[3])
    out = out.view(layer.out_channels, n, height, width).transpose(0, 1)
    return out if layer.bias is None else out + layer.bias[:, None, None].to(out.dtype)


def transposed_product(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """`layer(x)`: (n, in, h, w) -> (n, out, h', w'); what overlaps adds up in full precision."""
    n, height, width = x.shape[0], x.shape[2], x.shape[3]
    maps = x.transpose(0, 1).flatten(1)  # (in, n h w)
    columns = torch.mm(layer.weight.flatten(1).t(), maps)  # (out k k, n h w)
    patches = columns.view(-1, n, height * width).transpose(0, 1)
    size = size_after(layer, height, width)
    made = F.fold(
        _full(patches), size, layer.kernel_size, layer.dilation, _padding(layer), layer.stride
    )
    out = made if layer.bias is None else made + layer.bias[:, None, None]
    return out.to(columns.dtype)


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _padding(layer: nn.Conv2d | nn.ConvTranspose2d) -> int:
    return int(layer.padding[0])  # `_plain` saw that it is the same on all sides, and no word
