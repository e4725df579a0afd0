"""Patch grid: the pixels of an image that each element of a score map depends on."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import nn

from .antialias import BlurDown
from .norms import BatchNorm, GroupNorm, InstanceNorm
from .same import SameConv

LARGEST = 2**12  # side of an image that is large enough for any discriminator
POINTWISE = (nn.LeakyReLU, nn.Identity, BatchNorm, InstanceNorm, GroupNorm)


class PatchGrid(NamedTuple):
    """Element (i, j) of a score map depends on the `size` rows from start_y + i * stride, and on as
    many columns from start_x + j * stride. Pixels outside the image are padding.

    This is the receptive field of the convolutions. With a norm that uses the statistics of an
    image, every element also depends on the mean and the variance of the whole image.
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
        bottom, right = min(top + self.size, self.height), min(left + self.size, self.width)
        return max(top, 0), max(left, 0), bottom, right

    def centre(self, i: float, j: float) -> tuple[float, float]:
        """(y, x) of the centre of an element's patch; the centre of the first pixel is 0."""
        half = (self.size - 1) / 2
        return self.start_y + i * self.stride + half, self.start_x + j * self.stride + half


@runtime_checkable
class HasPatchGrid(Protocol):
    """A discriminator whose first score map is a grid of patches."""

    def patch_grid(self, height: int, width: int) -> PatchGrid | None:
        """Return the grid for an image of a size. Raises ValueError for too small an image."""


def patch_grid(network: nn.Module, height: int, width: int) -> PatchGrid | None:
    """Return the patch grid of a discriminator; None if it has none: no patch map is drawn.

    Raises ValueError if the image is too small.
    """
    return network.patch_grid(height, width) if isinstance(network, HasPatchGrid) else None


class _Axis(NamedTuple):
    """A map along one axis: number of elements, stride, and receptive field of the first one."""

    length: int
    stride: int = 1
    size: int = 1
    start: int = 0

    def after(self, kernel: int, stride: int, before: int, after: int) -> _Axis:
        """The map after a convolution with this padding before and after."""
        return _Axis(
            max((self.length + before + after - kernel) // stride + 1, 0),
            self.stride * stride,
            self.size + (kernel - 1) * self.stride,
            self.start - before * self.stride,
        )


def grid_of_layers(layers: nn.Sequential, height: int, width: int) -> PatchGrid:
    """Return the patch grid of a stack of convolutions for an image of a size.

    Raises ValueError if the image is too small for a score map.
    """
    y, x = _walk(layers, height), _walk(layers, width)
    if not (y.length and x.length):
        least = next(side for side in range(1, LARGEST) if _walk(layers, side).length)
        raise ValueError(
            f"an image of {width}x{height} is too small to have patches; the discriminator needs "
            f"at least {least}x{least}"
        )
    return PatchGrid(height, width, y.length, x.length, y.size, y.stride, y.start, x.start)


def _walk(layers: nn.Sequential, side: int) -> _Axis:
    axis = _Axis(side)
    for layer in layers:
        if isinstance(layer, SameConv):
            axis = axis.after(layer.kernel, layer.stride, *layer.pads(axis.length))
        elif isinstance(layer, nn.Conv2d):
            kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
            axis = axis.after(kernel, stride, padding, padding)
        elif isinstance(layer, BlurDown):
            reflects = axis.length > 1
            axis = axis.after(3, 2, 1, 1) if reflects else axis._replace(length=0)
        elif not isinstance(layer, POINTWISE):
            raise TypeError(f"the receptive field of {type(layer).__name__} is not known")
    return axis
