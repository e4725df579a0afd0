"""FID and KID: distances between two sets of images by their features."""

from __future__ import annotations

import torch
from torch import Tensor

from .limits import KID_IMAGES


def fid(x: Tensor, y: Tensor) -> float:
    """Frechet distance between two Gaussians fitted to features (Heusel 2017), from 0 on.

    It falls as the number of images grows, whatever the images: compare only at equal numbers.

    Args:
        x: Features (n, d).
        y: Features (m, d).

    Raises:
        ValueError: A set has fewer than two images.
    """
    x, y = _features(x, y)
    means = (x.mean(0) - y.mean(0)).square().sum()
    a, b = _root(x), _root(y)
    # trace sqrt(S_x S_y) for S_x = a'a and S_y = b'b is the sum of the singular values of a b':
    # exact, without the square root of a matrix that is singular if n < d.
    mixed = torch.linalg.svdvals(a @ b.T).sum()
    return float((means + a.square().sum() + b.square().sum() - 2 * mixed).clamp(min=0))


def kid(
    x: Tensor, y: Tensor, subset_size: int = 50, subsets: int = 100, seed: int = 0
) -> tuple[float, float]:
    """Kernel Inception distance (Binkowski 2018): squared MMD with the kernel (a.b / d + 1)^3.

    The mean over random subsets is unbiased for any number of images, so it may be slightly below
    0. The deviation is that of one subset of this size, as papers report it, not the error of the
    mean. No global random number is drawn.

    Args:
        x: Features (n, d).
        y: Features (m, d).
        subset_size: Number of images drawn from each set, without replacement.
        subsets: Number of subsets.
        seed: Seed of the subsets.

    Returns:
        Mean and standard deviation over the subsets.

    Raises:
        ValueError: A set has fewer than `KID_IMAGES` images, or fewer than a subset.
    """
    x, y = _features(x, y)
    smaller = min(len(x), len(y))
    if smaller < KID_IMAGES:
        raise ValueError(
            f"KID needs at least {KID_IMAGES} images in each set, not {smaller}: with fewer it is "
            "mostly noise"
        )
    if not 2 <= subset_size <= smaller or subsets < 1:
        raise ValueError(
            f"KID over {subsets} subsets of {subset_size} images cannot be drawn from {smaller}"
        )
    generator = torch.Generator().manual_seed(seed)

    def subset(features: Tensor) -> Tensor:
        order = torch.randperm(len(features), generator=generator)
        return features[order[:subset_size].to(features.device)]

    values = torch.stack([_squared_mmd(subset(x), subset(y)) for _ in range(subsets)])
    return float(values.mean()), float(values.std(correction=0))


def _squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased estimate of two sets (n, d) of one size (Binkowski 2018, eq. 4)."""
    n, d = x.shape
    xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = xx.sum() - xx.trace() + yy.sum() - yy.trace()
    return within / (n * (n - 1)) - 2 * xy.mean()


def _root(x: Tensor) -> Tensor:
    """(n, d) -> (k, d) with k <= d, whose a'a is the covariance of x."""
    centred: Tensor = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    if len(x) <= x.shape[1]:
        return centred
    triangle: Tensor = torch.linalg.qr(centred, mode="r").R
    return triangle


def _features(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(
            "sets to compare must be features (n, d) of two images or more, not "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
    return x.double(), y.double()
