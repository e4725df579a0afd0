"""Test metrics of image pairs against hand-computed values and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from viceversa.metrics.paired import l1, ms_ssim, psnr, ssim


def smooth(n: int, channels: int, side: int, seed: int) -> Tensor:
    """Return smooth random images in [-1, 1]."""
    noise = np.random.default_rng(seed).normal(size=(n, channels, side, side))
    soft = gaussian_filter(noise, (0, 0, 2, 2))
    return torch.from_numpy(np.clip(soft / soft.std() / 3, -1, 1)).float()


def to_numpy(image: Tensor) -> np.ndarray:
    """Convert (c, h, w) in [-1, 1] to (h, w, c) in [0, 1]."""
    return (image.permute(1, 2, 0).double().numpy() + 1) / 2


def degraded(x: Tensor, seed: int) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return (0.8 * x + 0.1 * noise).clamp(-1, 1)


def test_l1_of_known_images() -> None:
    x = torch.tensor([[[[-1.0, 1.0]]], [[[0.0, 0.5]]]])
    y = torch.tensor([[[[1.0, 1.0]]], [[[0.5, 0.0]]]])
    assert l1(x, y).tolist() == [1.0, 0.5]
    assert l1(x, y).tolist() == l1(y, x).tolist()


def test_psnr_of_known_images() -> None:
    x = torch.zeros(3, 2, 4, 4)
    y = torch.stack([torch.full((2, 4, 4), value) for value in (0.0, 0.2, 2.0)])
    values = psnr(x, y)
    assert values[0] == math.inf  # identical
    assert values[1:].tolist() == pytest.approx([20.0, 0.0])  # 10 log10(4 / 0.04)


GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_psnr_and_ssim_match_scikit_image(channels: int) -> None:
    x = smooth(3, channels, 48, 0)
    y = degraded(x, 1)
    values = ssim(x, y)
    for i in range(3):
        a, b = to_numpy(x[i]), to_numpy(y[i])
        expected = structural_similarity(a, b, data_range=1, channel_axis=2, **GAUSSIAN)
        assert float(values[i]) == pytest.approx(expected, rel=1e-4)
        expected = peak_signal_noise_ratio(a, b, data_range=1)
        assert float(psnr(x, y)[i]) == pytest.approx(expected, abs=1e-9)
    assert float(values.max()) < 0.95  # the images do differ


def test_ssim_is_computed_on_values_from_0_to_1() -> None:
    # With values from -1 to 1, mid-grey would be 0 and any change of brightness extreme.
    x = torch.full((1, 1, 16, 16), 0.0)
    y = torch.full((1, 1, 16, 16), 0.2)
    a, b, c = 0.5, 0.6, 0.01**2
    assert float(ssim(x, y)) == pytest.approx((2 * a * b + c) / (a * a + b * b + c), rel=1e-5)


def expected_ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Return MS-SSIM of two planes in [0, 1] (Wang et al. 2003, eq. 7 and exponents)."""
    total = 1.0
    for scale, power in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            h, w = (side // 2 * 2 for side in a.shape)
            a, b = (one[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3)) for one in (a, b))
        blur = lambda image: gaussian_filter(image, 1.5, radius=5)[5:-5, 5:-5]  # noqa: E731
        ma, mb = blur(a), blur(b)
        va, vb, vab = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
        term = (2 * vab + 0.03**2) / (va + vb + 0.03**2)
        if scale == 4:
            term *= (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
        total *= max(float(term.mean()), 0) ** power
    return total


@pytest.mark.parametrize("side", [176, 193])
def test_ms_ssim_matches_its_formula(side: int) -> None:
    x = smooth(2, 1, side, 3)
    y = degraded(x, 4)
    values = ms_ssim(x, y)
    for i in range(2):
        expected = expected_ms_ssim(to_numpy(x[i])[..., 0], to_numpy(y[i])[..., 0])
        assert float(values[i]) == pytest.approx(expected, rel=1e-4)
    assert float(ms_ssim(x, x)[0]) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
def test_metrics_of_a_batch_are_per_image() -> None:
    x = smooth(3, 3, 176, 5)
    y = degraded(x, 6)
    for measure in (l1, psnr, ssim, ms_ssim):
        batched = measure(x, y)
        assert batched.shape == (3,)
        single = [float(measure(x[i : i + 1], y[i : i + 1])) for i in range(3)]
        assert batched.tolist() == pytest.approx(single, rel=1e-5)


def test_noise_worsens_every_metric() -> None:
    x = smooth(1, 3, 176, 7)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(8))
    steps = [(x + scale * noise).clamp(-1, 1) for scale in (0.02, 0.1, 0.4)]
    for measure, sign in ((l1, 1), (psnr, -1), (ssim, -1), (ms_ssim, -1)):
        values = [sign * float(measure(x, step)) for step in steps]
        assert values == sorted(values)


@pytest.mark.parametrize(
    ("measure", "side", "message"),
    [
        (ssim, 10, "SSIM needs images of at least 11 x 11 pixels, not 10 x 10"),
        (ms_ssim, 175, "MS-SSIM needs images of at least 176 x 176 pixels, not 175 x 175"),
    ],
)
def test_images_too_small_are_refused(measure, side: int, message: str) -> None:  # type: ignore[no-untyped-def]
    x = torch.zeros(1, 1, side, side)
    with pytest.raises(ValueError, match=message):
        measure(x, x)
    larger = torch.zeros(1, 1, side + 1, side + 1)
    assert float(measure(larger, larger)) == pytest.approx(1)


def test_images_of_two_sizes_are_refused() -> None:
    for measure in (l1, psnr, ssim, ms_ssim):
        with pytest.raises(ValueError, match="must be two of"):
            measure(torch.zeros(1, 3, 200, 200), torch.zeros(1, 3, 200, 201))
