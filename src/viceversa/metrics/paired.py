"""Distances between an image and the one that it should be, pixel by pixel and window by window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SSIM_LEAST = 11  # pixels a side: one window
MS_SSIM_LEAST = 176  # pixels a side: one window after four halvings


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of each image (n,), from 0 to 2. Two of (n, c, h, w) in [-1, 1]."""
    _check(x, y)
    return (x.double() - y.double()).abs().mean((1, 2, 3)).float()


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image (n,), in dB: 10 log10(4 / mean squared difference).

    Two of (n, c, h, w) in [-1, 1]. Of two identical images it is inf: say how many those are, and
    average the others.
    """
    _check(x, y)
    return (10 * (4 / (x.double() - y.double()).square().mean((1, 2, 3))).log10()).float()


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each image (n,), up to 1 (Wang 2004): the mean over its channels.

    Two of (n, c, h, w) in [-1, 1], compared as values from 0 to 1, in Gaussian windows of 11 x 11
    pixels (sigma 1.5) that lie within the image. Raises ValueError below 11 pixels a side.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure as measure

    _check(x, y, SSIM_LEAST, "SSIM")
    return _one_by_one(
        lambda a, b: measure(a, b, sigma=1.5, data_range=1.0, reduction="none"), x, y
    )


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """SSIM over five scales of each image (n,), from 0 to 1 (Wang 2003, with its exponents).

    Two of (n, c, h, w) in [-1, 1]. A scale's term below 0 counts as 0. Raises ValueError below 176
    pixels a side.
    """
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure as measure,
    )

    _check(x, y, MS_SSIM_LEAST, "MS-SSIM")
    return _one_by_one(
        lambda a, b: measure(
            a, b, sigma=1.5, data_range=1.0, reduction="none", normalize="relu"
        ), x, y
    )  # fmt: skip


def _one_by_one(measure: Callable[[Tensor, Tensor], Any], x: Tensor, y: Tensor) -> Tensor:
    """A measure of each image alone (n,): of many at once it needs many times their memory.

    From [-1, 1] to [0, 1], since SSIM compares brightness, and black must be 0 for that.
    """
    pairs = zip((x.float() + 1) / 2, (y.float() + 1) / 2, strict=True)
    return torch.stack([measure(a[None], b[None]).reshape(()) for a, b in pairs])


def _check(x: Tensor, y: Tensor, least: int = 1, what: str = "") -> None:
    if x.shape != y.shape or x.ndim != 4:
        raise ValueError(f"images to compare must be two of (n, c, h, w), not {tuple(x.shape)} "
                         f"and {tuple(y.shape)}")  # fmt: skip
    if min(x.shape[2:]) < least:
        raise ValueError(f"{what} needs images of at least {least} x {least} pixels, "
                         f"not {x.shape[3]} x {x.shape[2]}")  # fmt: skip
