"""Test FID and KID of features against scipy, direct formulas and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn

from viceversa.metrics.distribution import fid, kid
from viceversa.metrics.limits import KID_IMAGES


def features(n: int, d: int, seed: int, shift: float = 0.0) -> Tensor:
    """Return correlated, skewed values, similar to features of Inception."""
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(d, d)) / d**0.5
    return torch.from_numpy(np.maximum(random.normal(size=(n, d)) @ mix + shift, 0))


def scipy_fid(x: Tensor, y: Tensor) -> float:
    """Return the FID by the formula of Heusel et al. 2017, with a matrix square root."""
    a, b = x.numpy(), y.numpy()
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # A singular product may have no square root; a small diagonal makes it regular.
    diagonal = 1e-9 * np.eye(len(s))
    root = sqrtm((s + diagonal) @ (t + diagonal)).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * root))


# Numbers of images above and below the number of features.
SIZES = [(200, 300, 16), (200, 20, 32), (40, 50, 64)]


@pytest.mark.parametrize(("n", "m", "d"), SIZES)
def test_fid_matches_scipy(n: int, m: int, d: int) -> None:
    x, y = features(n, d, 0), features(m, d, 1, 0.3)
    assert fid(x, y) == pytest.approx(scipy_fid(x, y), rel=1e-4)
    assert fid(x, y) == pytest.approx(fid(y, x), rel=1e-9)


class Flatten(nn.Module):
    """Returns its input as features."""

    num_features = 32

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), [(100, 120), (20, 25)])
@pytest.mark.filterwarnings("ignore:Metric `.*` will save all extracted features")
def test_fid_matches_torchmetrics(n: int, m: int) -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    x, y = features(n, 32, 2), features(m, 32, 3, 0.3)
    reference = FrechetInceptionDistance(Flatten(), input_img_size=(1, 1, 32)).set_dtype(
        torch.float64
    )
    reference.update(x.view(n, 1, 1, 32), real=True)
    reference.update(y.view(m, 1, 1, 32), real=False)
    assert fid(x, y) == pytest.approx(float(reference.compute()), rel=1e-4)


def test_fid_of_known_distributions() -> None:
    # Deviations 1 and 3, means 0 and 2, one dimension: 2^2 + (1 - 3)^2.
    x = torch.tensor([[-1.0], [0.0], [1.0]])
    assert fid(x, 3 * x + 2) == pytest.approx(8)
    assert fid(x, x) == pytest.approx(0, abs=1e-12)


def test_fid_decreases_with_the_number_of_images() -> None:
    # Therefore FID may be compared only at equal numbers of images.
    few, many = (fid(features(n, 32, 4), features(n, 32, 5)) for n in (40, 400))
    assert few > 3 * many > 0


def mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased estimate of the squared MMD, term by term (Binkowski et al. 2018)."""
    m, d = x.shape
    kernel = lambda a, b: (a @ b / d + 1) ** 3  # noqa: E731
    same = sum(kernel(s[i], s[j]) for s in (x, y) for i in range(m) for j in range(m) if i != j)
    cross = sum(kernel(a, b) for a in x for b in y)
    return float(same / (m * (m - 1)) - 2 * cross / m**2)


def test_kid_is_the_mean_over_random_subsets() -> None:
    x, y = features(60, 12, 6), features(70, 12, 7, 0.2)
    generator = torch.Generator().manual_seed(5)
    subsets = [
        (
            x[torch.randperm(60, generator=generator)[:20]],
            y[torch.randperm(70, generator=generator)[:20]],
        )
        for _ in range(4)
    ]
    values = [mmd(a.numpy(), b.numpy()) for a, b in subsets]
    mean, deviation = kid(x, y, subset_size=20, subsets=4, seed=5)
    assert mean == pytest.approx(np.mean(values), rel=1e-4)
    assert deviation == pytest.approx(np.std(values), rel=1e-4)


def test_squared_mmd_matches_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    x, y = features(50, 32, 10), features(50, 32, 11, 0.2)
    # One subset of all images: random selection only permutes them.
    assert kid(x, y, subset_size=50, subsets=1)[0] == pytest.approx(float(poly_mmd(x, y)), rel=1e-9)


def test_kid_is_unbiased() -> None:
    # Two samples of one distribution: about 0, as often below it as above.
    values = [
        kid(features(50, 16, 2 * i), features(50, 16, 2 * i + 1), 50, 1)[0] for i in range(60)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / 60**0.5
    assert 15 < sum(value < 0 for value in values) < 45
    assert kid(features(50, 16, 0), features(50, 16, 1, 1.0), 50, 1)[0] > 5 * np.std(values)


def test_kid_does_not_change_the_global_random_state() -> None:
    x, y = features(60, 8, 8), features(60, 8, 9)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = kid(x, y)
    assert torch.equal(torch.rand(4), expected)
    assert kid(x, y) == first != kid(x, y, seed=1)


def test_too_few_images_are_refused() -> None:
    few, enough = features(KID_IMAGES - 1, 8, 0), features(KID_IMAGES, 8, 1)
    kid(enough, enough)
    with pytest.raises(ValueError, match="KID needs at least 50 images in each set, not 49"):
        kid(enough, few)
    with pytest.raises(ValueError, match="subsets of 51 images cannot be drawn from 50"):
        kid(enough, enough, subset_size=51)
    with pytest.raises(ValueError, match="two images or more"):
        fid(few[:1], enough)
    with pytest.raises(ValueError, match=r"not \(49, 8\) and \(50, 7\)"):
        fid(few, enough[:, 1:])
