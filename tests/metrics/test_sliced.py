"""Test the sliced Wasserstein distance."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from viceversa.metrics.sliced import swd


def random_images(n: int, seed: int, channels: int = 3, side: int = 64) -> Tensor:
    """Return random images with structure at every scale and strongly correlated channels."""
    random = torch.Generator().manual_seed(seed)
    total = torch.zeros(n, channels, side, side)
    for step in (1, 2, 4, 8, 16):
        small = side // step
        shared = torch.randn(n, 1, small, small, generator=random)
        own = torch.randn(n, channels, small, small, generator=random)
        total += step**0.5 * F.interpolate(shared + 0.3 * own, (side, side), mode="bilinear")
    return (total / 12).clamp(-1, 1)


@pytest.mark.slow
def test_distance_of_a_set_to_itself_is_zero() -> None:
    x = random_images(20, 0)
    assert swd(x, x) == 0
    assert swd(x, x.clone(), seed=4) == 0


@pytest.mark.slow
def test_distance_of_similar_sets_is_small_for_any_number_of_images() -> None:
    x, y, few = random_images(40, 1), random_images(40, 2), random_images(13, 3)
    near = swd(x, y)
    assert 0 < near < 0.1
    assert swd(few, y) < 2 * near


@pytest.mark.slow
def test_distance_grows_with_blur_brightness_and_noise() -> None:
    x, y = random_images(40, 4), random_images(40, 5)
    floor = swd(x, y)
    blurred = [swd(F.avg_pool2d(x, k, 1, k // 2), y) for k in (3, 5, 9)]
    assert 2 * floor < blurred[0] < blurred[1] < blurred[2]
    darker = [swd((x - shift).clamp(-1, 1), y) for shift in (0.1, 0.3, 0.6)]
    assert floor < darker[0] < darker[1] < darker[2]
    noisy = x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert swd(noisy, y) > 2 * floor


@pytest.mark.slow
def test_missing_colour_increases_the_distance() -> None:
    # It would hardly do so if each channel were only divided by its own deviation.
    x, y = random_images(40, 6), random_images(40, 7)
    grey = x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert swd(grey, y) > 4 * swd(x, y)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "side"), [(1, 32), (2, 45), (5, 16)])
def test_any_number_of_channels_and_size(channels: int, side: int) -> None:
    x = torch.rand(6, channels, side, side + 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert swd(x, x) == 0
    assert swd(x**2, x) > 0.05


def test_distance_of_constant_images() -> None:
    black, white = torch.full((3, 1, 16, 16), -1.0), torch.full((3, 1, 16, 16), 1.0)
    assert swd(black, black) == 0
    assert swd(white, black) > 1


@pytest.mark.slow
def test_distance_depends_only_on_the_seed() -> None:
    x, y = random_images(10, 8), random_images(10, 9)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = swd(x, y, seed=7)
    assert torch.equal(torch.rand(3), expected)
    assert swd(x, y, seed=7) == first
    other = swd(x, y, seed=8)
    assert other != first and other == pytest.approx(first, rel=0.2)


def test_incompatible_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="images of one size"):
        swd(torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 33))
    with pytest.raises(ValueError, match="images of one size"):
        swd(torch.zeros(0, 3, 32, 32), torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="at least 16 x 16 pixels, not 40 x 15"):
        swd(torch.zeros(2, 3, 15, 40), torch.zeros(2, 3, 15, 40))
