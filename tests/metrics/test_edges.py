"""Test the edge correlation of two images."""

from __future__ import annotations

import pytest
import torch
from support import read_values, shared
from torch import Tensor

from viceversa.metrics.edges import edge_correlation


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """Crops of photographs, (n, 3, 256, 256)."""
    files = sorted(shared("kodak").glob("*.png"))
    return torch.cat([read_values(file)[:, :, 100:356, 100:356] for file in files])


def disc(side: int = 48, radius: float = 12) -> Tensor:
    x = torch.arange(side) - side / 2
    return torch.where(x[:, None] ** 2 + x**2 < radius**2, 0.8, -0.8)[None, None]


def test_same_edges_score_one_for_any_colours() -> None:
    x = disc()
    assert float(edge_correlation(x, x)) == pytest.approx(1)
    assert float(edge_correlation(x, -x)) == pytest.approx(1)
    assert float(edge_correlation(x, 0.3 * x + 0.4)) == pytest.approx(1)
    coloured = torch.cat([x, -x, 0.2 * x], 1)
    assert float(edge_correlation(x, coloured)) == pytest.approx(1)


def test_edges_between_colours_of_the_same_brightness_count() -> None:
    x = disc()
    assert float(edge_correlation(torch.cat([x, -x], 1), x)) == pytest.approx(1)


def test_different_edges_score_low() -> None:
    x = disc()
    assert abs(float(edge_correlation(x, x.roll(24, 3)))) < 0.2
    assert 0.1 < float(edge_correlation(x, disc(radius=15))) < 0.6


def test_constant_images_score_zero() -> None:
    x, flat = disc(), torch.full((1, 1, 48, 48), 0.3)
    for constant in (flat, -flat, torch.zeros_like(flat)):
        for pair in ((x, constant), (constant, x), (constant, constant)):
            assert float(edge_correlation(*pair)) == 0


def test_edge_correlation_of_photographs(photos: Tensor) -> None:
    gamma = ((photos + 1) / 2) ** 2.2 * 2 - 1
    assert edge_correlation(photos, -photos).min() > 0.999
    assert edge_correlation(photos, gamma).min() > 0.8
    assert edge_correlation(photos, photos.mean(1, keepdim=True)).min() > 0.9
    shuffled = edge_correlation(photos, photos.roll(1, 0))
    assert shuffled.abs().max() < 0.3
    near, far = (edge_correlation(photos, photos.roll(shift, 3)) for shift in (1, 3))
    assert bool((far < near - 0.1).all()) and near.max() < 1


def test_images_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="must have one size"):
        edge_correlation(torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 30))
