"""Whether an image feels the others of its batch in training: whole networks, and their gradients.

The layers by themselves are in test_networks.py, as is batch norm at use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viceversa.networks import DISCRIMINATORS, GENERATORS
from viceversa.networks.norms import BatchNorm, make_norm

ALONE = ["layer", "instance", "instance-affine", "instance-std", "group", "none"]
SMALL: dict[str, dict[str, Any]] = {
    "unet": {"width": 4, "depth": 3, "dropout": 0.0},
    "gdl-unet": {"width": 4, "depth": 3},
    "resnet": {"width": 4, "blocks": 1},
    "patchgan": {"width": 4},
    "pixelgan": {"width": 4},
}
SIDE = 32


def generator(name: str, norm: str) -> nn.Module:
    network_class, config_class = GENERATORS[name]
    network: nn.Module = network_class(config_class(norm=norm, groups=2, **SMALL[name]), 3, 3)
    return network


def discriminator(name: str, norm: str) -> nn.Module:
    network_class, config_class = DISCRIMINATORS[name]
    network: nn.Module = network_class(config_class(norm=norm, groups=2, **SMALL[name]), 3)
    return network


MAKERS = [(generator, name) for name in GENERATORS] + [(discriminator, n) for n in DISCRIMINATORS]
EVERY = pytest.mark.parametrize(
    ("make", "name"), MAKERS, ids=[f"{make.__name__}-{name}" for make, name in MAKERS]
)
Maker = Callable[[str, str], nn.Module]


def in_training(make: Maker, name: str, norm: str) -> nn.Module:
    """A network in training mode, double precision, with weights that let something through."""
    torch.manual_seed(0)
    network = make(name, norm).double().train()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
    return network


def company() -> Tensor:
    """An image among others that are much brighter and of more contrast."""
    torch.manual_seed(1)
    images = torch.randn(4, 3, SIDE, SIDE, dtype=torch.float64)
    images[1:] = images[1:] * 3 + 2
    return images


def output(network: nn.Module, images: Tensor) -> Tensor:
    """The images of a generator, or the one score map of a discriminator."""
    out = network(images)
    if isinstance(out, list):
        (out,) = out
    return out


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max())


@EVERY
@pytest.mark.parametrize("norm", ALONE)
def test_an_image_is_the_same_alone_and_among_others(make: Maker, name: str, norm: str) -> None:
    network, images = in_training(make, name, norm), company()
    for place, image in enumerate(images):
        assert apart(output(network, images)[place], output(network, image[None])[0]) < 1e-9


@EVERY
def test_with_batch_norm_it_is_not(make: Maker, name: str) -> None:
    """The control: what the test above would say of a norm that feels the batch."""
    network, images = in_training(make, name, "batch"), company()
    assert apart(output(network, images)[0], output(network, images[:1])[0]) > 1e-3


@EVERY
@pytest.mark.parametrize("norm", [*ALONE, "batch"])
def test_only_batch_norm_lets_one_images_loss_reach_anothers_pixels(
    make: Maker, name: str, norm: str
) -> None:
    network, images = in_training(make, name, norm), company().requires_grad_()
    output(network, images)[0].square().mean().backward()
    assert images.grad is not None
    own, others = (images.grad[part].abs().max() for part in (slice(1), slice(1, None)))
    assert own > 0
    assert (others > 1e-9 * own) == (norm == "batch")


@EVERY
def test_at_batch_size_1_batch_norm_is_instance_norm_with_scale_and_shift(
    make: Maker, name: str
) -> None:
    """In training; among others it is not (the control)."""
    batch, instance = (in_training(make, name, norm) for norm in ("batch", "instance-affine"))
    missing, more = instance.load_state_dict(batch.state_dict(), strict=False)
    assert not missing
    assert {key.rpartition(".")[2] for key in more} == {"running_mean", "running_var"}
    images = company()
    assert apart(output(batch, images[:1]), output(instance, images[:1])) < 1e-9
    assert apart(output(batch, images), output(instance, images)) > 1e-3


def test_a_batchs_statistics_are_the_rougher_the_smaller_it_is() -> None:
    """The mean of n images that differ in brightness wanders by 1 / sqrt(n) about that of all."""
    torch.manual_seed(2)
    brightness = torch.randn(256, 32, 1, 1, dtype=torch.float64)
    images = brightness + 0.1 * torch.randn(256, 32, 4, 4, dtype=torch.float64)
    sizes, wander = (1, 2, 8, 32), []
    for size in sizes:
        layer = make_norm("batch", 32).double().train()
        assert isinstance(layer, BatchNorm)
        layer.momentum = 1.0  # the averages are then those of the last batch
        means = []
        for part in torch.split(images, size):
            layer(part)
            means.append(layer.running_mean.clone())
        wander.append(float(torch.stack(means).var(0, correction=0).mean()))
    whole = float(brightness.var(0, correction=0).mean())
    for size, variance in zip(sizes, wander, strict=True):
        assert variance == pytest.approx(whole / size, rel=0.2)
    assert wander == sorted(wander, reverse=True)
