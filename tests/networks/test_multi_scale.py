"""Test PatchGANs on several scales: sizes, weights, activations, patch grid, advice."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from viceversa.networks import DISCRIMINATORS
from viceversa.networks.patch_grid import patch_grid
from viceversa.networks.patchgan import MultiScalePatchGAN, PatchGAN
from viceversa.networks.sizes import check_size


def discriminator(scales: int, **more: Any) -> Any:
    torch.manual_seed(0)
    settings = {"width": 2, "norm": "instance", "padding": "two", **more}
    network_class, config = DISCRIMINATORS["patchgan"]
    return network_class(config(scales=scales, **settings), 3)


def test_sizes_of_pix2pixhd() -> None:
    maps = discriminator(2)(torch.zeros(1, 3, 256, 256))
    assert [tuple(one.shape) for one in maps] == [(1, 1, 35, 35), (1, 1, 19, 19)]


def test_one_scale_is_a_plain_patchgan() -> None:
    network = discriminator(1)
    assert type(network) is PatchGAN
    assert set(network.state_dict()) == {
        f"layers.{number}.{kind}" for number in (0, 2, 5, 8, 11) for kind in ("weight", "bias")
    }


def test_each_scale_is_a_patchgan_with_its_own_weights() -> None:
    network, image = discriminator(3), torch.randn(2, 3, 65, 96)
    assert isinstance(network, MultiScalePatchGAN)
    maps = network(image)
    for number, one in enumerate(network.scales):
        alone = discriminator(1)
        alone.load_state_dict(one.state_dict())
        assert torch.equal(maps[number], alone(image)[0])
        image = network.down(image)
    weights = [one.layers[0].weight for one in network.scales]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])


def test_padding_is_not_counted_in_the_average() -> None:
    network = discriminator(2)
    rows = torch.arange(5.0).expand(1, 1, 3, 5)
    assert network.down(rows)[0, 0].tolist() == [[0.5, 2.0, 3.5]] * 2


def test_activations_are_those_of_all_layers_but_the_last() -> None:
    network, image = discriminator(2), torch.randn(1, 3, 256, 256)
    activations = network.features(image)
    assert [(x.shape[1], x.shape[2]) for x in activations] == [
        *((2, 129), (4, 65), (8, 33), (16, 34)),
        *((2, 65), (4, 33), (8, 17), (16, 18)),
    ]
    scores = [network.scales[number].layers[-1](activations[4 * number + 3]) for number in range(2)]
    assert all(map(torch.equal, scores, network(image)))


@pytest.mark.parametrize("padding", ["one", "two", "same"])
def test_the_patch_grid_is_that_of_the_full_size(padding: Any) -> None:
    network = discriminator(2, padding=padding)
    grid = patch_grid(network, 96, 80)
    assert grid == patch_grid(discriminator(1, padding=padding), 96, 80) and grid is not None
    assert network(torch.zeros(1, 3, 96, 80))[0].shape[2:] == grid[2:4]
    assert grid.size == 70


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width", "largest"), [(64, 64, 2), (50, 90, 2), (100, 99, 3)])
def test_the_number_of_scales_that_supports_a_size_is_named(
    height: int, width: int, largest: int
) -> None:
    with pytest.raises(ValueError, match="cannot train on") as error:
        check_size(discriminator(5, padding="one"), 3, height, width, 1)
    size = f"{height}x{width}" if height == width else f"height {height}, width {width}"
    advice = f"(--discriminator.scales {largest} or less supports {size})"
    assert advice in str(error.value)
    check_size(discriminator(largest, padding="one"), 3, height, width, 1)
    with pytest.raises(ValueError, match="cannot train on"):
        check_size(discriminator(largest + 1, padding="one"), 3, height, width, 1)


def test_single_scores_of_all_scales() -> None:
    network, image = discriminator(2, whole_image=True), torch.randn(2, 3, 64, 64)
    assert [tuple(one.shape) for one in network(image)] == [(2, 1, 1, 1)] * 2
    grid = patch_grid(network, 64, 64)
    assert grid is not None and (grid.rows, grid.columns) == (1, 1)
