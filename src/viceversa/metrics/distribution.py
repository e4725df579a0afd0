"""Distances between two sets of images by their features: FID and KID."""

from __future__ import annotations

import torch
from torch import Tensor

# Halves of one set of photographs are apart by a KID of 0 +- 0.020 with 8 images a side, 0.003 with
# 50 and 0.002 with 100: below this the noise is as large as what one looks for.
KID_LEAST = 50


def fid(x: Tensor, y: Tensor) -> float:
    """Frechet distance of two Gaussians fitted to features (n, d) and (m, d), from 0 on (Heusel
    2017).

    It falls as n grows, whatever the images: compare only at equal n. Raises ValueError below two
    images a side.
    """
    x, y = _features(x, y)
    means = (x.mean(0) - y.mean(0)).square().sum()
    a, b = (_root(one) for one in (x, y))
    # trace sqrt(S_x S_y) for S_x = a'a and S_y = b'b is the sum of the singular values of a b':
    # exact, without the square root of a matrix that is singular wherever n < d.
    mixed = torch.linalg.svdvals(a @ b.T).sum()
    return float((means + a.square().sum() + b.square().sum() - 2 * mixed).clamp(min=0))


def kid(
    x: Tensor, y: Tensor, subset_size: int = 50, subsets: int = 100, seed: int = 0
) -> tuple[float, float]:
    """Squared maximum mean discrepancy of features (n, d) and (m, d), kernel (a.b / d + 1)^3
    (Binkowski 2018): its mean over random subsets, and its deviation between them.

    The mean is unbiased at any n, so it may lie a little below 0. The deviation is that of a subset
    of this size, as papers print it; it is not the error of the mean. Draws from a generator of its
    own. Raises ValueError below KID_LEAST images a side, and for subsets larger than a set.
    """
    from torchmetrics.image.kid import poly_mmd

    x, y = _features(x, y)
    fewest = min(len(x), len(y))
    if fewest < KID_LEAST:
        raise ValueError(f"KID needs at least {KID_LEAST} images a side, not {fewest}: with "
                         "fewer it is mostly noise")  # fmt: skip
    if not 2 <= subset_size <= fewest or subsets < 1:
        raise ValueError(f"KID over {subsets} subsets of {subset_size} images cannot be drawn from "
                         f"{fewest}")  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(subsets):
        some, others = (
            one[torch.randperm(len(one), generator=generator)[:subset_size].to(one.device)]
            for one in (x, y)
        )
        found.append(poly_mmd(some, others))
    values = torch.stack(found)
    return float(values.mean()), float(values.std(correction=0))


def _root(x: Tensor) -> Tensor:
    """(n, d) -> (k, d) with k <= d, whose a'a is the covariance of x."""
    centred: Tensor = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    if len(x) <= x.shape[1]:
        return centred
    triangle: Tensor = torch.linalg.qr(centred, mode="r").R
    return triangle


def _features(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"sets to compare must be features (n, d) of two images or more, not "
                         f"{tuple(x.shape)} and {tuple(y.shape)}")  # fmt: skip
    return x.double(), y.double()
