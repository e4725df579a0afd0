"""Test whether outputs and gradients of networks in training depend on other images of the batch.

Single layers, and batch norm at inference, are tested in test_networks.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viceversa.networks import DISCRIMINATORS, GENERATORS
from viceversa.networks.norms import BatchNorm, make_norm

SAMPLE_INDEPENDENT = ["layer", "instance", "instance-affine", "instance-std", "group", "none"]
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
EVERY_NETWORK = pytest.mark.parametrize(
    ("make", "name"), MAKERS, ids=[f"{make.__name__}-{name}" for make, name in MAKERS]
)
Maker = Callable[[str, str], nn.Module]


def training_network(make: Maker, name: str, norm: str) -> nn.Module:
    """Return a network in training mode and float64, with weights large enough for the test."""
    torch.manual_seed(0)
    network = make(name, norm).double().train()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
    return network


def mixed_batch() -> Tensor:
    """Return an image, followed by images of much more brightness and contrast."""
    torch.manual_seed(1)
    images = torch.randn(4, 3, SIDE, SIDE, dtype=torch.float64)
    images[1:] = images[1:] * 3 + 2
    return images


def output(network: nn.Module, images: Tensor) -> Tensor:
    """Return the images of a generator, or the only score map of a discriminator."""
    out = network(images)
    if isinstance(out, list):
        (out,) = out
    return out


def max_difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max())


@pytest.mark.slow
@EVERY_NETWORK
@pytest.mark.parametrize("norm", SAMPLE_INDEPENDENT)
def test_output_does_not_depend_on_the_batch(make: Maker, name: str, norm: str) -> None:
    network, images = training_network(make, name, norm), mixed_batch()
    batched = output(network, images)
    for position, image in enumerate(images):
        assert max_difference(batched[position], output(network, image[None])[0]) < 1e-9


@EVERY_NETWORK
def test_output_with_batch_norm_depends_on_the_batch(make: Maker, name: str) -> None:
    """Negative control of the test above."""
    network, images = training_network(make, name, "batch"), mixed_batch()
    assert max_difference(output(network, images)[0], output(network, images[:1])[0]) > 1e-3


@pytest.mark.slow
@EVERY_NETWORK
@pytest.mark.parametrize("norm", [*SAMPLE_INDEPENDENT, "batch"])
def test_only_batch_norm_has_gradients_between_images(make: Maker, name: str, norm: str) -> None:
    network, images = training_network(make, name, norm), mixed_batch().requires_grad_()
    output(network, images)[0].square().mean().backward()
    assert images.grad is not None
    own, others = (images.grad[part].abs().max() for part in (slice(1), slice(1, None)))
    assert own > 0
    assert (others > 1e-9 * own) == (norm == "batch")


@EVERY_NETWORK
def test_batch_norm_at_batch_size_1_is_affine_instance_norm(make: Maker, name: str) -> None:
    """In training mode. Negative control: with a larger batch it is not."""
    batch, instance = (training_network(make, name, norm) for norm in ("batch", "instance-affine"))
    missing, more = instance.load_state_dict(batch.state_dict(), strict=False)
    assert not missing
    assert {key.rpartition(".")[2] for key in more} == {"running_mean", "running_var"}
    images = mixed_batch()
    assert max_difference(output(batch, images[:1]), output(instance, images[:1])) < 1e-9
    assert max_difference(output(batch, images), output(instance, images)) > 1e-3


def test_variance_of_batch_statistics_decreases_with_batch_size() -> None:
    """The mean of n images of random brightness has the standard error 1 / sqrt(n)."""
    torch.manual_seed(2)
    brightness = torch.randn(256, 32, 1, 1, dtype=torch.float64)
    images = brightness + 0.1 * torch.randn(256, 32, 4, 4, dtype=torch.float64)
    sizes, variances = (1, 2, 8, 32), []
    for size in sizes:
        layer = make_norm("batch", 32).double().train()
        assert isinstance(layer, BatchNorm)
        layer.momentum = 1.0  # running statistics are those of the last batch
        means = []
        for part in torch.split(images, size):
            layer(part)
            means.append(layer.running_mean.clone())
        variances.append(float(torch.stack(means).var(0, correction=0).mean()))
    total = float(brightness.var(0, correction=0).mean())
    for size, variance in zip(sizes, variances, strict=True):
        assert variance == pytest.approx(total / size, rel=0.2)
    assert variances == sorted(variances, reverse=True)
