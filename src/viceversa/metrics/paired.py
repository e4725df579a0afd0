"""L1, PSNR, SSIM and MS-SSIM: an output against its target.

Images are (n, c, h, w) in [-1, 1]; results are (n,) of float64. `weight`, (n, 1, h, w) or
(n, c, h, w) from 0 to 1, weighs each value: 0 where an image has no data. Means and the windows of
SSIM are normalized by it; an image without any weight has the value NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .limits import MS_SSIM_SIDE, PEAK, SSIM_SIDE

EXPONENTS = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333  # of the scales, finest first (Wang 2003)


def l1(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean absolute difference of each image, from 0 to 2.

    Args:
        x: Images (n, c, h, w) in [-1, 1].
        y: Images of the same shape; the order of the two does not matter.
        weight: (n, 1, h, w) or (n, c, h, w) from 0 to 1, or None: all pixels count.

    Returns:
        (n,) of float64; NaN for an image without any weight.

    Raises:
        ValueError: The shapes differ.
    """
    _check(x, y)
    return _mean((x.double() - y.double()).abs(), weight)


def psnr(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB.

    It is 10 log10(peak^2 / mean squared difference). The peak is 2, from -1 to 1. PSNR is infinite
    for identical images: report how many there are, and average the others.

    Args:
        x: Images (n, c, h, w) in [-1, 1].
        y: Images of the same shape; the order of the two does not matter.
        weight: (n, 1, h, w) or (n, c, h, w) from 0 to 1, or None: all pixels count.

    Returns:
        (n,) of float64; NaN for an image without any weight.

    Raises:
        ValueError: The shapes differ.
    """
    _check(x, y)
    return 10 * (PEAK**2 / _mean((x.double() - y.double()).square(), weight)).log10()


def ssim(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the structural similarity of each image, up to 1 (Wang 2004), averaged over channels.

    Values are scaled to [0, 1]; the Gaussian windows of 11 x 11 pixels (sigma 1.5) are inside the
    image.

    Args:
        x: Images (n, c, h, w) in [-1, 1].
        y: Images of the same shape; the order of the two does not matter.
        weight: (n, 1, h, w) or (n, c, h, w) from 0 to 1, or None: all pixels count.

    Returns:
        (n,) of float64; NaN for an image without any weight.

    Raises:
        ValueError: The shapes differ, or images are smaller than a window.
    """
    _check(x, y, SSIM_SIDE, "SSIM")
    return _per_image(lambda a, b, w: _similarity(a, b, w)[0], x, y, weight)


def ms_ssim(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the multi-scale SSIM of each image over five scales, from 0 to 1 (Wang 2003, eq. 7).

    A negative term of a scale counts as 0.

    Args:
        x: Images (n, c, h, w) in [-1, 1].
        y: Images of the same shape; the order of the two does not matter.
        weight: (n, 1, h, w) or (n, c, h, w) from 0 to 1, or None: all pixels count.

    Returns:
        (n,) of float64; NaN for an image without any weight.

    Raises:
        ValueError: The shapes differ, or images are smaller than 176 pixels.
    """
    _check(x, y, MS_SSIM_SIDE, "MS-SSIM")
    return _per_image(_over_scales, x, y, weight)


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean of each image (n, c, h, w) -> (n,)."""
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
    """Means of SSIM and of its contrast-structure term, of two images (c, h, w) in [0, 1]."""
    windows, window_weight = _windows, None
    if weight is not None:
        window_weight = _windows(weight)

        def windows(image: Tensor) -> Tensor:
            return _windows(image * weight) / window_weight.clamp(min=1e-12)

    mean_a, mean_b = windows(a), windows(b)
    squares, product = mean_a.square() + mean_b.square(), mean_a * mean_b
    variances = windows(a.square() + b.square()) - squares
    covariance = windows(a * b) - product
    structure = (2 * covariance + 0.03**2) / (variances + 0.03**2)
    luminance = (2 * product + 0.01**2) / (squares + 0.01**2)
    if window_weight is None:
        return (structure * luminance).mean(), structure.mean()
    total = window_weight.sum()
    return (
        (structure * luminance * window_weight).sum() / total,
        (structure * window_weight).sum() / total,
    )


def _windows(image: Tensor) -> Tensor:
    """Gaussian mean of each window: (c, h, w) -> (c, h - 10, w - 10)."""
    gaussian = torch.exp(-(torch.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
    factors = (gaussian / gaussian.sum()).tolist()
    for axis in (1, 2):
        size = image.shape[axis] - len(factors) + 1
        shifted = [factor * image.narrow(axis, i, size) for i, factor in enumerate(factors)]
        image = torch.stack(shifted).sum(0)
    return image


def _per_image(
    measure: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    x: Tensor,
    y: Tensor,
    weight: Tensor | None,
) -> Tensor:
    """Apply a measure to one image at a time, so that memory does not grow with their number.

    Values are scaled to [0, 1], where SSIM expects black at 0, in double precision, since a
    variance is the difference of two nearly equal numbers.
    """
    weights = [None] * len(x) if weight is None else weight.to(x).double().expand_as(x)
    pairs = zip((x.double() + 1) / 2, (y.double() + 1) / 2, weights, strict=True)
    return torch.stack([measure(*pair) for pair in pairs])


def _check(x: Tensor, y: Tensor, smallest: int = 1, name: str = "") -> None:
    if x.shape != y.shape or x.ndim != 4:
        raise ValueError(
            f"images to compare must be two of (n, c, h, w), not {tuple(x.shape)} and "
            f"{tuple(y.shape)}"
        )
    if min(x.shape[2:]) < smallest:
        raise ValueError(
            f"{name} needs images of at least {smallest} x {smallest} pixels, not {x.shape[3]} x "
            f"{x.shape[2]}"
        )
