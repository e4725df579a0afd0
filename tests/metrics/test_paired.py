"""Distances between two images, against numbers worked by hand and against another library."""

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
    """Random images with structure, in [-1, 1]."""
    drawn = np.random.default_rng(seed).normal(size=(n, channels, side, side))
    soft = gaussian_filter(drawn, (0, 0, 2, 2))
    return torch.from_numpy(np.clip(soft / soft.std() / 3, -1, 1)).float()


def plain(image: Tensor) -> np.ndarray:
    """(c, h, w) in [-1, 1] -> (h, w, c) in [0, 1]."""
    return (image.permute(1, 2, 0).double().numpy() + 1) / 2


def near(x: Tensor, seed: int) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return (0.8 * x + 0.1 * noise).clamp(-1, 1)


def test_l1_by_hand() -> None:
    x = torch.tensor([[[[-1.0, 1.0]]], [[[0.0, 0.5]]]])
    y = torch.tensor([[[[1.0, 1.0]]], [[[0.5, 0.0]]]])
    assert l1(x, y).tolist() == [1.0, 0.5]
    assert l1(x, y).tolist() == l1(y, x).tolist()


def test_psnr_by_hand() -> None:
    x = torch.zeros(3, 2, 4, 4)
    y = torch.stack([torch.full((2, 4, 4), value) for value in (0.0, 0.2, 2.0)])
    found = psnr(x, y)
    assert found[0] == math.inf  # identical
    assert found[1:].tolist() == pytest.approx([20.0, 0.0])  # 10 log10(4 / 0.04)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_psnr_and_ssim_are_those_of_another_library(channels: int) -> None:
    x = smooth(3, channels, 48, 0)
    y = near(x, 1)
    found = ssim(x, y)
    for i in range(3):
        a, b = plain(x[i]), plain(y[i])
        theirs = structural_similarity(
            a,
            b,
            data_range=1,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert float(found[i]) == pytest.approx(theirs, rel=1e-4)
        assert float(psnr(x, y)[i]) == pytest.approx(
            peak_signal_noise_ratio(a, b, data_range=1), abs=1e-9
        )
    assert float(found.max()) < 0.95  # there was something to find


def test_ssim_of_dark_images_counts_their_brightness() -> None:
    # on values from -1 to 1 mid-grey would be 0, and a change of brightness there be all
    x = torch.full((1, 1, 16, 16), 0.0)
    y = torch.full((1, 1, 16, 16), 0.2)
    a, b, c = 0.5, 0.6, 0.01**2
    assert float(ssim(x, y)) == pytest.approx((2 * a * b + c) / (a * a + b * b + c), rel=1e-5)


def by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """MS-SSIM of two planes in [0, 1] (Wang 2003, eq. 7, with their exponents)."""
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
def test_ms_ssim_by_hand(side: int) -> None:
    x = smooth(2, 1, side, 3)
    y = near(x, 4)
    found = ms_ssim(x, y)
    for i in range(2):
        assert float(found[i]) == pytest.approx(
            by_hand(plain(x[i])[..., 0], plain(y[i])[..., 0]), rel=1e-4
        )
    assert float(ms_ssim(x, x)[0]) == pytest.approx(1, abs=1e-6)


def test_each_image_is_measured_alone() -> None:
    x = smooth(3, 3, 176, 5)
    y = near(x, 6)
    for measure in (l1, psnr, ssim, ms_ssim):
        together = measure(x, y)
        assert together.shape == (3,)
        assert together.tolist() == pytest.approx(
            [float(measure(x[i : i + 1], y[i : i + 1])) for i in range(3)], rel=1e-5
        )


def test_noise_lowers_every_measure() -> None:
    x = smooth(1, 3, 176, 7)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(8))
    steps = [(x + share * noise).clamp(-1, 1) for share in (0.02, 0.1, 0.4)]
    for measure, sign in ((l1, 1), (psnr, -1), (ssim, -1), (ms_ssim, -1)):
        found = [sign * float(measure(x, step)) for step in steps]
        assert found == sorted(found)


@pytest.mark.parametrize(
    ("measure", "side", "words"),
    [
        (ssim, 10, "SSIM needs images of at least 11 x 11 pixels, not 10 x 10"),
        (ms_ssim, 175, "MS-SSIM needs images of at least 176 x 176 pixels, not 175 x 175"),
    ],
)
def test_images_too_small_are_refused(measure, side: int, words: str) -> None:  # type: ignore[no-untyped-def]
    x = torch.zeros(1, 1, side, side)
    with pytest.raises(ValueError, match=words):
        measure(x, x)
    larger = torch.zeros(1, 1, side + 1, side + 1)
    assert float(measure(larger, larger)) == pytest.approx(1)


def test_images_of_two_sizes_are_refused() -> None:
    for measure in (l1, psnr, ssim, ms_ssim):
        with pytest.raises(ValueError, match="must be two of"):
            measure(torch.zeros(1, 3, 200, 200), torch.zeros(1, 3, 200, 201))
