"""Compute convolutions with many weights on small feature maps as matrix products.

The inner layers of a U-Net have millions of weights for maps of 16x16 and less. oneDNN converts
such weights to its own layout before a convolution, and their gradient back, which takes longer
than the arithmetic; a matrix product uses the weights as they are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_RATIO = 16  # weights per value of the larger map from which a matrix product is faster


def convolve_by_matmul(network: nn.Module) -> None:
    """Use matrix products for a network's convolutions where they are faster: on a CPU, in bf16.

    Other forward passes, and the names of the weights, do not change.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and _supported(layer):
            layer.forward = partial(_faster, layer, layer.forward)  # type: ignore[method-assign]


def _supported(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    sides = (layer.kernel_size, layer.stride, layer.dilation, layer.output_padding)
    square = all(len(set(values)) == 1 for values in sides)
    padded = isinstance(layer.padding, tuple) and len(set(layer.padding)) == 1
    folds = layer.output_padding[0] < layer.stride[0]  # a condition of torch's fold
    return square and padded and folds and layer.groups == 1 and layer.padding_mode == "zeros"


def _faster(
    layer: nn.Conv2d | nn.ConvTranspose2d, convolve: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    by_matmul = (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and _weights(layer) >= MIN_RATIO * max(x.numel(), x.shape[0] * _output_values(layer, x))
    )
    if not by_matmul:
        return convolve(x)
    if isinstance(layer, nn.ConvTranspose2d):
        return transposed_conv_by_matmul(layer, x)
    return conv_by_matmul(layer, x)


def _weights(layer: nn.Conv2d | nn.ConvTranspose2d) -> int:
    """Return the number of weights; reading a weight with spectral norm would update its state."""
    return layer.in_channels * layer.out_channels * layer.kernel_size[0] ** 2


def _output_values(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> int:
    """Return the number of output values per sample."""
    height, width = output_size(layer, x.shape[2], x.shape[3])
    return layer.out_channels * height * width


def output_size(layer: nn.Conv2d | nn.ConvTranspose2d, *sides: int) -> tuple[int, ...]:
    """Return height and width of a layer's output."""
    kernel = layer.dilation[0] * (layer.kernel_size[0] - 1) + 1
    stride, padding = layer.stride[0], _padding(layer)
    if isinstance(layer, nn.ConvTranspose2d):
        more = layer.output_padding[0]
        return tuple((side - 1) * stride - 2 * padding + kernel + more for side in sides)
    return tuple((side + 2 * padding - kernel) // stride + 1 for side in sides)


def conv_by_matmul(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Return `layer(x)`, (n, in, h, w) -> (n, out, h', w'), by a product with the patches of x.

    Patches overlap in the gradient, which is therefore summed in float32.
    """
    n = x.shape[0]
    patches = F.unfold(
        _in_float32(x), layer.kernel_size, layer.dilation, _padding(layer), layer.stride
    )
    columns = patches.transpose(0, 1).flatten(1)  # (in k k, n h' w')
    out = torch.mm(layer.weight.flatten(1), columns)
    height, width = output_size(layer, x.shape[2], x.shape[3])
    out = out.view(layer.out_channels, n, height, width).transpose(0, 1)
    return out if layer.bias is None else out + layer.bias[:, None, None].to(out.dtype)


def transposed_conv_by_matmul(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """Return `layer(x)`, (n, in, h, w) -> (n, out, h', w'); patches are summed in float32."""
    n, height, width = x.shape[0], x.shape[2], x.shape[3]
    maps = x.transpose(0, 1).flatten(1)  # (in, n h w)
    columns = torch.mm(layer.weight.flatten(1).t(), maps)  # (out k k, n h w)
    patches = columns.view(-1, n, height * width).transpose(0, 1)
    size = output_size(layer, height, width)
    folded = F.fold(
        _in_float32(patches), size, layer.kernel_size, layer.dilation, _padding(layer), layer.stride
    )
    out = folded if layer.bias is None else folded + layer.bias[:, None, None]
    return out.to(columns.dtype)


def _in_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _padding(layer: nn.Conv2d | nn.ConvTranspose2d) -> int:
    return int(layer.padding[0])  # `_supported`: the same on all sides
