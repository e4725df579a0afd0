"""Test metrics with pixel weights: pixels of weight 0 are left out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from viceversa.metrics.edges import edge_correlation
from viceversa.metrics.paired import l1, ms_ssim, psnr, ssim

METRICS = {
    "l1": l1,
    "psnr": psnr,
    "ssim": ssim,
    "ms_ssim": ms_ssim,
    "edge_correlation": edge_correlation,
}
SIDE = 180


def images(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, 12, 12, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")


def hole() -> Tensor:
    weight = torch.ones(2, 1, SIDE, SIDE)
    weight[:, :, 40:97, 20:150] = 0
    return weight


every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


@pytest.mark.slow
@every_metric
def test_weight_one_is_the_unweighted_metric(metric: Callable[..., Tensor]) -> None:
    x, y = images(0), 0.7 * images(0) + 0.3 * images(1)
    plain, weighted = metric(x, y), metric(x, y, torch.ones(2, 1, SIDE, SIDE))
    assert weighted.tolist() == pytest.approx(plain.tolist(), rel=1e-5)


@pytest.mark.slow
@every_metric
def test_pixels_without_weight_do_not_count(metric: Callable[..., Tensor]) -> None:
    x, y, weight = images(0), 0.7 * images(0) + 0.3 * images(1), hole()
    expected = metric(x, y, weight)
    for other in (-1.0, 1.0, 0.3):
        a, b = x.where(weight > 0, other), y.where(weight > 0, -other)
        assert metric(a, b, weight).tolist() == pytest.approx(expected.tolist(), rel=1e-5)
        # Negative control: without weights they count.
        assert metric(a, b).tolist() != pytest.approx(expected.tolist(), rel=1e-2)


def test_l1_and_psnr_of_the_pixels_with_weight() -> None:
    x, y, weight = images(0), images(1), hole()
    some = (weight > 0).expand_as(x)
    for metric in (l1, psnr):
        parts = [
            metric(a[m].view(1, 3, 1, -1), b[m].view(1, 3, 1, -1)).item()
            for a, b, m in zip(x, y, some, strict=True)
        ]
        assert metric(x, y, weight).tolist() == pytest.approx(parts, rel=1e-5)


def test_weights_of_each_channel() -> None:
    x = torch.zeros(1, 2, 1, 2)
    y = torch.tensor([[[[0.5, 1.0]], [[0.25, 0.0]]]])
    weight = torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]]]])
    assert l1(x, y, weight).item() == pytest.approx((0.5 + 0.25 + 0) / 3)


def test_ssim_of_equal_images_is_one_for_any_weights() -> None:
    x = images(0)
    for metric in (ssim, ms_ssim):
        assert metric(x, x, hole()).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_weights_of_zero_give_nan() -> None:
    x = images(0)
    assert l1(x, x, torch.zeros(2, 1, SIDE, SIDE)).isnan().all()
