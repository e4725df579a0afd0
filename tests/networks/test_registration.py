"""The registration network: sizes, initial flow, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from viceversa.networks.registration import RegistrationNet
from viceversa.networks.sizes import parameters


def pair(side: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    return torch.randn(1, channels, side, side), torch.randn(1, channels, side, side)


def test_the_network_has_the_parameters_of_the_paper() -> None:
    assert parameters(RegistrationNet(1)) == 2_058_018


@pytest.mark.parametrize(
    ("side", "halvings"), [(256, 7), (255, 6), (96, 5), (16, 3), (4, 1), (3, 0), (2, 0)]
)
def test_small_images_are_halved_less_often(side: int, halvings: int) -> None:
    network = RegistrationNet(1, width=1)
    sides = []
    network.bottleneck.register_forward_pre_hook(lambda _, x: sides.append(x[0].shape[2]))
    with torch.no_grad():
        assert network(*pair(side)).shape == (1, 2, side, side)
    assert sides == [side >> halvings]


def test_the_sides_may_differ() -> None:
    images = torch.randn(2, 2, 3, 10, 37)
    with torch.no_grad():
        assert RegistrationNet(3, width=2)(*images).shape == (2, 2, 10, 37)


def test_the_initial_flow_is_almost_zero() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        flow = RegistrationNet(1)(*pair(32))
    assert 0 < float(flow.abs().max()) < 0.01  # pixels


@pytest.mark.parametrize("side", [8, 64])
def test_every_weight_has_a_gradient_at_every_size(side: int) -> None:
    torch.manual_seed(0)
    network = RegistrationNet(1, width=2)
    network(*pair(side)).square().sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
