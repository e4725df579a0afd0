"""Distances between an image and the one that it should be, pixel by pixel and window by window.

`weight`, (n, 1, h, w) or (n, c, h, w) from 0 to 1, says how much each value counts: 0 where an
image has no data. Means, and the windows of SSIM, are normalised by it. An image that has no weight
at all has the value NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SSIM_LEAST = 11  # pixels a side: one window
MS_SSIM_LEAST = 176  # pixels a side: one window after four halvings
EXPONENTS = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333  # of the scales, finest first (Wang 2003)


def l1(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute difference of each image (n,), from 0 to 2. Two of (n, c, h, w) in [-1, 1]."""
    _check(x, y)
    return _mean((x.double() - y.double()).abs(), weight).float()


def psnr(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image (n,), in dB: 10 log10(4 / mean squared difference).

    Two of (n, c, h, w) in [-1, 1]. Of two identical images it is inf: say how many those are, and
    average the others.
    """
    _check(x, y)
    return (10 * (4 / _mean((x.double() - y.double()).square(), weight)).log10()).float()


def ssim(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Structural similarity of each image (n,), up to 1 (Wang 2004): the mean over its channels.

    Two of (n, c, h, w) in [-1, 1], compared as values from 0 to 1, in Gaussian windows of 11 x 11
    pixels (sigma 1.5) that lie within the image. Raises ValueError below 11 pixels a side.
    """
    _check(x, y, SSIM_LEAST, "SSIM")
    return _one_by_one(lambda a, b, w: _similarity(a, b, w)[0], x, y, weight)


def ms_ssim(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """SSIM over five scales of each image (n,), from 0 to 1 (Wang 2003, eq. 7).

    Two of (n, c, h, w) in [-1, 1]. A scale's term below 0 counts as 0. Raises ValueError below 176
    pixels a side.
    """
    _check(x, y, MS_SSIM_LEAST, "MS-SSIM")
    return _one_by_one(_over_scales, x, y, weight)


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """The mean of each image (n, c, h, w), by weight: (n,)."""
    if weight is None:
        return values.mean((1, 2, 3))
    weight = weight.to(values).expand_as(values)
    return (values * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))


def _over_scales(a: Tensor, b: Tensor, weight: Tensor | None) -> Tensor:
    total = a.new_ones(())
    for power in EXPONENTS[:-1]:
        total = total * _similarity(a, b, weight)[1].clamp(min=0) ** power
        if weight is None:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
            continue
        coarser = F.avg_pool2d(weight, 2)
        a, b = (F.avg_pool2d(one * weight, 2) / coarser.clamp(min=1e-12) for one in (a, b))
        weight = coarser
    return total * _similarity(a, b, weight)[0].clamp(min=0) ** EXPONENTS[-1]


def _similarity(a: Tensor, b: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Of two images (c, h, w) in [0, 1], the means of SSIM and of its term for contrast and
    structure alone. A window with no weight does not count."""
    windows, share = _windows, None
    if weight is not None:
        share = _windows(weight)

        def windows(image: Tensor) -> Tensor:
            return _windows(image * weight) / share.clamp(min=1e-12)

    mean_a, mean_b = windows(a), windows(b)
    squares, product = mean_a.square() + mean_b.square(), mean_a * mean_b
    variances = windows(a.square() + b.square()) - squares
    covariance = windows(a * b) - product
    structure = (2 * covariance + 0.03**2) / (variances + 0.03**2)
    brightness = (2 * product + 0.01**2) / (squares + 0.01**2)
    if share is None:
        return (structure * brightness).mean(), structure.mean()
    total = share.sum()
    return (structure * brightness * share).sum() / total, (structure * share).sum() / total


def _windows(image: Tensor) -> Tensor:
    """(c, h, w) -> (c, h - 10, w - 10): the mean in each window, by weights of a Gaussian."""
    weights = torch.exp(-(torch.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
    shares = (weights / weights.sum()).tolist()
    for axis in (1, 2):
        size = image.shape[axis] - len(shares) + 1
        moved = [share * image.narrow(axis, i, size) for i, share in enumerate(shares)]
        image = torch.stack(moved).sum(0)
    return image


def _one_by_one(
    measure: Callable[[Tensor, Tensor, Tensor | None], Tensor], x: Tensor, y: Tensor,
    weight: Tensor | None,
) -> Tensor:  # fmt: skip
    """A measure of each image alone (n,), so that memory does not grow with their number.

    From [-1, 1] to [0, 1], since SSIM compares brightness, and black must be 0 for that. In double
    precision, since a variance is the difference of two nearly equal numbers.
    """
    weights = [None] * len(x) if weight is None else weight.to(x).double().expand_as(x)
    pairs = zip((x.double() + 1) / 2, (y.double() + 1) / 2, weights, strict=True)
    return torch.stack([measure(*pair) for pair in pairs]).float()


def _check(x: Tensor, y: Tensor, least: int = 1, what: str = "") -> None:
    if x.shape != y.shape or x.ndim != 4:
        raise ValueError(f"images to compare must be two of (n, c, h, w), not {tuple(x.shape)} "
                         f"and {tuple(y.shape)}")  # fmt: skip
    if min(x.shape[2:]) < least:
        raise ValueError(f"{what} needs images of at least {least} x {least} pixels, "
                         f"not {x.shape[3]} x {x.shape[2]}")  # fmt: skip
