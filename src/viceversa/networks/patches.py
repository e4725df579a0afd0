"""Where in an image each number of a discriminator's map comes from."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from .norms import BatchNorm, GroupNorm, InstanceNorm
from .patchgan import PatchGAN, PixelGAN, SameConv

LARGEST = 2**12  # a side that is enough for any discriminator of ours
POINTWISE = (nn.LeakyReLU, nn.Identity, BatchNorm, InstanceNorm, GroupNorm)


class Patches(NamedTuple):
    """Element (i, j) of a map rests on the `size` rows from start_y + i * stride, and on as many
    columns from start_x + j * stride. What lies outside the image is padding.

    That is what convolutions see. A norm by the statistics of an image (batch at use, instance,
    group) also lets every element feel the mean and the variance of all of it.
    """

    height: int
    width: int
    """Pixels of the image."""
    rows: int
    columns: int
    """Elements of the map."""
    size: int
    stride: int
    start_y: int
    start_x: int

    def box(self, i: int, j: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of an element's patch, within the image; ends exclusive."""
        top, left = self.start_y + i * self.stride, self.start_x + j * self.stride
        return (
            max(top, 0), max(left, 0),
            min(top + self.size, self.height), min(left + self.size, self.width),
        )  # fmt: skip

    def centre(self, i: float, j: float) -> tuple[float, float]:
        """(y, x) of the middle of an element's whole patch; the first pixel's own middle is 0."""
        half = (self.size - 1) / 2
        return self.start_y + i * self.stride + half, self.start_x + j * self.stride + half


class _Axis(NamedTuple):
    """A map along one axis: how many elements, how far apart, what the first one rests on."""

    length: int
    stride: int = 1
    size: int = 1
    start: int = 0

    def behind(self, kernel: int, stride: int, before: int, after: int) -> _Axis:
        """Behind a convolution with so much padding on either side."""
        return _Axis(
            max((self.length + before + after - kernel) // stride + 1, 0),
            self.stride * stride,
            self.size + (kernel - 1) * self.stride,
            self.start - before * self.stride,
        )


def patches(network: nn.Module, height: int, width: int) -> Patches:
    """The patches of a discriminator's map of an image, from the network's own layers.

    One that averages its map to a single number rests on the whole image. Raises ValueError where
    the image is too small to give a map.
    """
    if not isinstance(network, PatchGAN | PixelGAN):
        raise TypeError(f"{type(network).__name__} is no discriminator whose layers are known")
    y, x = _walk(network.layers, height), _walk(network.layers, width)
    if not (y.length and x.length):
        least = smallest(network)
        raise ValueError(
            f"an image of {width}x{height} is too small to have patches; the discriminator needs "
            f"at least {least}x{least}"
        )
    if isinstance(network, PatchGAN) and network.whole_image:
        side = max(height, width)
        return Patches(height, width, 1, 1, side, side, 0, 0)
    return Patches(height, width, y.length, x.length, y.size, y.stride, y.start, x.start)


def smallest(network: PatchGAN | PixelGAN) -> int:
    """The least side of an image of which a discriminator makes a map."""
    return next(side for side in range(1, LARGEST) if _walk(network.layers, side).length)


def _walk(layers: nn.Sequential, side: int) -> _Axis:
    axis = _Axis(side)
    for layer in layers:
        if isinstance(layer, SameConv):
            axis = axis.behind(layer.kernel, layer.stride, *layer.pads(axis.length))
        elif isinstance(layer, nn.Conv2d):
            kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
            axis = axis.behind(kernel, stride, padding, padding)
        elif not isinstance(layer, POINTWISE):
            raise TypeError(f"what {type(layer).__name__} does to patches is not known")
    return axis
