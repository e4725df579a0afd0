"""Losses by hand, the gradient penalty, and the image pool."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from viceversa.batch import Batch
from viceversa.losses import (
    GAN_LOSSES,
    discriminator_losses,
    fill,
    gradient_penalty,
    l1,
)
from viceversa.methods.image_pool import ImagePool
from viceversa.methods.pix2pix import Pix2Pix

LOGITS = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "real", "fake", "fool"),
    [
        ("bce", 0.6380888942, 1.1380888942, 0.6380888942),
        ("lsgan", 1.75, 1.75, 1.75),
        ("hinge", (2 + 0.5 + 0) / 3, (0 + 1.5 + 3) / 3, -0.5),
        ("wgan-gp", -0.5, 0.5, -0.5),
    ],
)
def test_values_by_hand(name: str, real: float, fake: float, fool: float) -> None:
    loss = GAN_LOSSES[name]
    assert float(loss.real([LOGITS])) == pytest.approx(real, abs=1e-9)
    assert float(loss.fake([LOGITS])) == pytest.approx(fake, abs=1e-9)
    assert float(loss.fool([LOGITS])) == pytest.approx(fool, abs=1e-9)


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_score_maps_of_several_scales_have_equal_weight(name: str) -> None:
    loss, large, small = GAN_LOSSES[name], torch.randn(2, 1, 8, 8), torch.randn(2, 1, 3, 3)
    for one in (loss.real, loss.fake, loss.fool):
        expected = (float(one([large])) + float(one([small]))) / 2
        assert float(one([large, small])) == pytest.approx(expected, abs=1e-6)


def test_discriminator_losses_by_hand() -> None:
    discriminator, ones = Linear(0.5), torch.ones(2, 1, 2, 2)  # the score of an image of ones is 2
    lsgan = replace(GAN_LOSSES["lsgan"], d_weight=0.5)
    losses = discriminator_losses(discriminator, lsgan, ones, 2 * ones)
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    assert values == {"real": 0.5, "fake": 8.0}
    wgan_gp = replace(GAN_LOSSES["wgan-gp"], d_weight=0.5, lambda_penalty=3)
    losses = discriminator_losses(discriminator, wgan_gp, ones, ones)
    assert float(losses["penalty"].detach()) == pytest.approx(0, abs=1e-6) and len(losses) == 3
    losses = discriminator_losses(Linear(2.0), wgan_gp, ones, ones)
    assert float(losses["penalty"].detach()) == pytest.approx(27)


def test_bce_at_zero_is_ln_2() -> None:
    assert float(GAN_LOSSES["bce"].real([torch.zeros(3)])) == pytest.approx(math.log(2), abs=1e-7)


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_scores_in_half_precision_are_averaged_in_float32(name: str) -> None:
    logits = torch.full((100_000,), 0.3).bfloat16()
    value = GAN_LOSSES[name].real([logits])
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(GAN_LOSSES[name].real([logits.double()])), rel=1e-4)


def test_l1_by_hand() -> None:
    assert float(l1(torch.tensor([1.0, -1.0]), torch.tensor([0.5, 1.0]))) == 1.25


class Linear(nn.Module):
    def __init__(self, slope: float):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [(self.slope * x).flatten(1).sum(1, keepdim=True)]


def test_gradient_penalty_of_a_known_slope() -> None:
    discriminator = Linear(0.5)  # 4 pixels: the gradient is (0.5, 0.5, 0.5, 0.5), its norm 1
    images = torch.randn(3, 1, 2, 2)
    assert float(gradient_penalty(discriminator, images, -images).detach()) == pytest.approx(
        0, abs=1e-9
    )
    discriminator = Linear(2.0)  # norm 4: penalty (4 - 1)^2, derivative 2 * 3 * 2
    penalty = gradient_penalty(discriminator, images, -images)
    assert float(penalty.detach()) == pytest.approx(9)
    penalty.backward()
    assert float(discriminator.slope.grad or 0) == pytest.approx(12)


def test_the_penalty_is_part_of_the_discriminator_losses() -> None:
    def discriminator_step_losses(name: Any) -> dict[str, torch.Tensor]:
        method = Pix2Pix(
            Pix2Pix.Config(gan_loss=name),
            (1, 1),
            lambda i, o: nn.Conv2d(i, o, 1),
            lambda i: nn.Conv2d(i, 1, 1),
        )
        player, losses = next(method.step(Batch(*torch.randn(2, 2, 1, 4, 4))))
        assert player == "discriminator"
        if "d_penalty" in losses:
            (gradient,) = torch.autograd.grad(losses["d_penalty"], [method.d_b.weight])  # type: ignore[list-item]
            assert float(gradient.abs().sum()) > 0
        return losses

    assert float(discriminator_step_losses("wgan-gp")["d_penalty"].detach()) > 0
    assert "d_penalty" not in discriminator_step_losses("lsgan")


def numbered(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count, dtype=torch.float32).view(-1, 1, 1, 1)


@pytest.mark.slow
def test_the_pool_fills_and_then_exchanges() -> None:
    torch.manual_seed(0)
    pool = ImagePool(50)
    assert torch.equal(pool(numbered(0, 30))[0], numbered(0, 30))
    assert torch.equal(pool(numbered(30, 20))[0], numbered(30, 20))
    assert torch.equal(pool.images, numbered(0, 50))
    exchanged = 0
    for number in range(50, 4050):
        before = pool.images.clone()
        returned = pool(numbered(number, 1))[0]
        if float(returned) == number:
            assert torch.equal(pool.images, before)  # returned without being stored
        else:
            exchanged += 1
            position = (before == returned).flatten().nonzero().item()
            assert float(pool.images[int(position)]) == number
            assert int((pool.images != before).sum()) == 1
    assert 1850 < exchanged < 2150


def test_the_pool_is_part_of_the_state_dict() -> None:
    pool = ImagePool(5)
    pool(numbered(0, 4))
    fresh = ImagePool(5)
    fresh.load_state_dict(pool.state_dict())
    torch.manual_seed(1)
    one = [float(pool(numbered(n, 1))[0]) for n in range(10, 40)]
    torch.manual_seed(1)
    assert [float(fresh(numbered(n, 1))[0]) for n in range(10, 40)] == one


def test_pool_size_0_gradients_and_image_sizes() -> None:
    fakes = numbered(0, 3).requires_grad_()
    assert torch.equal(ImagePool(0)(fakes)[0], fakes)
    assert not ImagePool(0)(fakes)[0].requires_grad
    pool = ImagePool(2)
    assert not pool(fakes)[0].requires_grad
    with pytest.raises(ValueError, match="one size"):
        pool(torch.zeros(1, 1, 2, 2))


def test_weighted_losses_by_hand() -> None:
    x = torch.tensor([[[[1.0, 5.0], [2.0, 7.0]]], [[[4.0, 4.0], [4.0, 4.0]]]])
    weight = torch.tensor([[[[1.0, 0.0], [0.5, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    # The first image: (1 * 1 + 0.5 * 2) / 1.5; the second has no data and counts as 0.
    assert float(l1(x, torch.zeros_like(x), weight)) == pytest.approx((2 / 1.5 + 0) / 2)
    assert float(l1(x, torch.zeros_like(x), torch.ones(2, 1, 2, 2))) == float(
        l1(x, torch.zeros_like(x))
    )
    scores = [torch.tensor([[[[3.0, 100.0]]]])]  # two cells of 2x2 pixels
    cells = torch.tensor([[[[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]]])
    lsgan = GAN_LOSSES["lsgan"]
    assert float(lsgan.fake(scores, cells)) == 9  # the cell without data is left out
    assert float(lsgan.fake(scores)) == (9 + 10000) / 2


def test_pixels_without_data_have_no_influence() -> None:
    weight = (torch.rand(2, 1, 4, 4) > 0.5).float()
    image = torch.rand(2, 3, 4, 4)
    results = []
    for noise in (0.0, 5.0, float("nan")):
        output = torch.where(weight > 0, image, noise).requires_grad_()
        loss = l1(fill(output, weight, -1.0), fill(torch.zeros(2, 3, 4, 4), weight, -1.0), weight)
        (gradient,) = torch.autograd.grad(loss, output)
        assert (gradient[(weight == 0).expand_as(gradient)] == 0).all()
        results.append((loss, gradient))
    for loss, gradient in results[1:]:
        assert torch.equal(loss, results[0][0]) and torch.equal(gradient, results[0][1])


def test_the_pool_keeps_the_weight_of_each_image() -> None:
    torch.manual_seed(0)
    pool = ImagePool(3)
    for number in range(40):
        image = numbered(number, 2)
        fakes, weight = pool(image, image / 100)
        assert weight is not None and torch.equal(fakes / 100, weight)


def test_the_pool_of_a_checkpoint_without_weights_starts_again() -> None:
    pool, resumed = ImagePool(2), ImagePool(2)
    for number in range(4):
        pool(numbered(number, 2))
    resumed.load_state_dict(pool.state_dict())
    image = numbered(9, 2)
    fakes, weight = resumed(image, image[:, :1])
    assert torch.equal(fakes, image) and weight is not None and torch.equal(weight, image[:, :1])
    assert resumed.filled == len(image)
    assert torch.equal(resumed(image)[0], image) and resumed.filled == len(image)  # the reverse
