"""R1 and label smoothing: values by hand, effects, and controls without them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support import identical, raises_user_error
from tiny_runs import METHODS, batch, settings, tiny_run, train_steps
from torch import Tensor, nn

from viceversa.losses import GAN_LOSSES, GANLoss, discriminator_losses, r1
from viceversa.methods.config import CUTConfig, CycleGANConfig, Pix2PixConfig
from viceversa.methods.objective import label_smoothed, make_objective

LOGITS = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)


@pytest.fixture
def user_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GAN_LOSSES, "own", replace(GAN_LOSSES["lsgan"], name="own"))


class PatchMean(nn.Module):
    """Score maps of two scales, linear in the image: slope x, and slope x at half the size."""

    def __init__(self, slope: float):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.slope * x, self.slope * F.avg_pool2d(x, 2)]


# -- R1


def test_r1_by_hand() -> None:
    """The mean score of 4 x 4 pixels changes by slope / 16 per pixel, in both scales."""
    discriminator = PatchMean(2.0)
    value = r1(discriminator, torch.randn(3, 1, 4, 4))
    assert float(value.detach()) == pytest.approx(16 * (2 / 16) ** 2)
    value.backward()  # slope^2 / 16
    assert float(discriminator.slope.grad or 0) == pytest.approx(2 * 2 / 16)


def test_r1_averages_over_images() -> None:
    class Square(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [x.square()]

    images = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)  # gradients 2 and 6
    assert float(r1(Square(), images).detach()) == pytest.approx((4 + 36) / 2)


def test_the_weight_of_r1_is_independent_of_d_weight() -> None:
    gan = replace(GAN_LOSSES["lsgan"], d_weight=0.5, lambda_r1=3.0)
    images = torch.randn(2, 1, 4, 4)
    losses = discriminator_losses(PatchMean(2.0), gan, images, images)
    assert list(losses) == ["real", "fake", "r1"]
    assert float(losses["r1"].detach()) == pytest.approx(3 * 0.25)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_r1_lowers_the_gradient_at_real_images(name: str) -> None:
    def gradient(weight: float) -> float:
        run = tiny_run(name, method={"lambda_r1": weight, "d_weight": 1.0}, train={"lr": 2e-3})
        train_steps(run, 15)
        values = []
        for domain, (network, conditional) in run.method.discriminators().items():
            images = batch(0).b if domain == "b" else batch(0).a
            images = torch.cat([batch(0).a, images], dim=1) if conditional else images
            values.append(float(r1(network, images).detach()))
        return max(values)

    assert gradient(100.0) < 0.5 * gradient(0.0)


# -- label smoothing


def test_label_smoothing_by_hand() -> None:
    """The target of real images is 0.9; those of fake images and of the generator stay."""
    target = torch.full_like(LOGITS, 0.9)
    expected = {
        "bce": F.binary_cross_entropy_with_logits(LOGITS, target),
        "lsgan": (LOGITS - 0.9).square().mean(),
    }
    for name, value in expected.items():
        plain, smoothed = GAN_LOSSES[name], label_smoothed(GAN_LOSSES[name], 0.1)
        assert float(smoothed.real([LOGITS])) == pytest.approx(float(value), abs=1e-12)
        assert float(smoothed.real([LOGITS])) != float(plain.real([LOGITS]))
        assert torch.equal(smoothed.fake([LOGITS]), plain.fake([LOGITS]))
        assert torch.equal(smoothed.fool([LOGITS]), plain.fool([LOGITS]))


@pytest.mark.parametrize(("name", "optimum"), [("bce", math.log(0.9 / 0.1)), ("lsgan", 0.9)])
def test_the_loss_on_real_images_is_smallest_at_the_target(name: str, optimum: float) -> None:
    """With `bce`, the output at this logit is 0.9."""

    def slope(gan: GANLoss, value: float) -> float:
        logit = torch.tensor([value], dtype=torch.float64, requires_grad=True)
        return float(torch.autograd.grad(gan.real([logit]), logit)[0])

    smoothed = label_smoothed(GAN_LOSSES[name], 0.1)
    assert slope(smoothed, optimum) == pytest.approx(0, abs=1e-12)
    assert slope(smoothed, optimum - 0.1) < 0 < slope(smoothed, optimum + 0.1)
    assert slope(GAN_LOSSES[name], optimum) < -0.05  # the control


@pytest.mark.parametrize("gan_loss", ["hinge", "wgan-gp", "own"])
@pytest.mark.usefixtures("user_loss")
def test_label_smoothing_needs_a_target(gan_loss: str) -> None:
    with raises_user_error("method.label_smoothing") as caught:
        settings("pix2pix", method={"gan_loss": gan_loss, "label_smoothing": 0.1})
    assert f"not for {gan_loss}" in str(caught.value)
    settings("pix2pix", method={"gan_loss": gan_loss, "label_smoothing": 0.0})  # the control


@pytest.mark.parametrize(
    ("option", "value"), [("label_smoothing", 0.6), ("label_smoothing", -0.1), ("lambda_r1", -1.0)]
)
def test_values_out_of_range_are_refused(option: str, value: float) -> None:
    with raises_user_error(f"method.{option}"):
        settings("cyclegan", method={option: value})


# -- controls


@pytest.mark.parametrize("config", [Pix2PixConfig(), CycleGANConfig(), CUTConfig()])
def test_by_default_the_objective_is_that_of_the_registry(config: Any) -> None:
    gan, plain = make_objective(config), GAN_LOSSES[config.gan_loss]
    assert replace(gan, d_weight=plain.d_weight) == plain
    assert not gan.differentiated_twice


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_at_0_losses_are_equal_to_the_bit(name: str) -> None:
    def losses(gan: GANLoss | None = None, **method: Any) -> Any:
        run = tiny_run(name, method=method)
        if gan is not None:
            run.method.gan = gan  # type: ignore[assignment]
        return train_steps(run, 2)

    gan_loss = settings(name).method.gan_loss
    plain = losses(replace(GAN_LOSSES[gan_loss], d_weight=0.5))
    assert identical(losses(lambda_r1=0.0, label_smoothing=0.0), plain)
    assert not identical(losses(label_smoothing=0.1), plain)
    with_r1 = losses(lambda_r1=1.0)
    assert {key for key in with_r1[0] if key.endswith("_r1")} == (
        {"d_r1"} if name == "pix2pix" else {"d_a_r1", "d_b_r1"}
    )
