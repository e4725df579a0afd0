"""Where each number of a map comes from: the layers' word against the gradient's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viceversa.networks import DISCRIMINATORS
from viceversa.networks.patch_grid import PatchGrid, patch_grid
from viceversa.networks.patchgan import PatchGAN, PixelGAN

FIELDS = [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286), (6, 574)]


def patchgan(layers: int = 3, norm: Any = "none", **more: Any) -> PatchGAN:
    torch.manual_seed(layers)
    return PatchGAN(PatchGAN.Config(width=2, layers=layers, norm=norm, **more), 1).double()


def grid(network: nn.Module, height: int, width: int) -> PatchGrid:
    found = patch_grid(network, height, width)
    assert found is not None
    return found


def felt(network: nn.Module, height: int, width: int, i: int, j: int) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the pixels whose change an element of the map feels."""
    image = torch.randn(1, 1, height, width, dtype=torch.float64, requires_grad=True)
    scores: Tensor = network(image)[0]
    scores[0, 0, i, j].backward()
    assert image.grad is not None
    rows, columns = (image.grad[0, 0].abs().sum(axis).nonzero()[:, 0] for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def places(found: PatchGrid) -> list[tuple[int, int]]:
    """Corners and the middle of a map."""
    rows, columns = found.rows - 1, found.columns - 1
    return [(0, 0), (0, columns), (rows, 0), (rows, columns), (rows // 2, columns // 2)]


@pytest.mark.parametrize(("layers", "field"), FIELDS)
@pytest.mark.parametrize("padding", ["one", "same"])
@pytest.mark.parametrize("more", [(0, 0), (13, 40)])
def test_an_element_feels_its_patch_and_no_more(
    layers: int, field: int, padding: Any, more: tuple[int, int]
) -> None:
    network = patchgan(layers, padding=padding)
    height, width = max(96, field) + more[0], max(96, field) + more[1]
    found = grid(network, height, width)
    assert (found.size, found.stride) == (field, 2**layers)
    for place in places(found):
        assert felt(network, height, width, *place) == found.box(*place)


def test_pixelgan_looks_at_one_pixel() -> None:
    network = PixelGAN(PixelGAN.Config(width=2, norm="none"), 1).double()
    found = grid(network, 5, 7)
    assert found == PatchGrid(5, 7, 5, 7, 1, 1, 0, 0)
    assert felt(network, 5, 7, 3, 4) == found.box(3, 4) == (3, 4, 4, 5)


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_statistics_of_an_image_are_felt_everywhere(norm: Any) -> None:
    """What the docstring says: by its mean and variance an element feels beyond its patch."""
    network = patchgan(2, norm).eval()
    found = grid(network, 96, 96)
    assert found.box(0, 0) == grid(patchgan(2), 96, 96).box(0, 0)
    assert felt(network, 96, 96, 0, 0) == (0, 0, 96, 96) != found.box(0, 0)


@pytest.mark.parametrize("name", DISCRIMINATORS)
@pytest.mark.parametrize("padding", ["one", "same"])
def test_the_map_has_the_size_that_is_told(name: str, padding: str) -> None:
    made, config = DISCRIMINATORS[name]
    settings = {"padding": padding} if name == "patchgan" else {}
    network = made(config(width=2, norm="none", **settings), 1)
    for height in (24, 31, 64, 101):
        for width in (25, 40):
            found = grid(network, height, width)
            assert network(torch.zeros(1, 1, height, width))[0].shape[2:] == found[2:4]


def test_the_maps_of_the_papers_and_of_the_book() -> None:
    assert grid(patchgan(), 256, 256) == PatchGrid(256, 256, 30, 30, 70, 8, -23, -23)
    # Nineteen rows of padding before 128 pixels, by hand: 1 + 2 + 4, and 1 each of 8.
    same = grid(patchgan(padding="same"), 128, 128)
    assert same == PatchGrid(128, 128, 16, 16, 70, 8, -23, -23)
    assert same.box(0, 15) == (0, 97, 47, 128)
    assert same.centre(0, 15) == (11.5, 131.5)  # padding lies more after the image than before it


def test_middles_lie_evenly_about_the_image_s_own() -> None:
    for layers, field in FIELDS:
        side = field + 10 * 2**layers - field % 2**layers
        found = grid(patchgan(layers), side, side)
        last = found.rows - 1
        assert sum(found.centre(0, 0) + found.centre(last, last)) == pytest.approx(2 * (side - 1))


@pytest.mark.parametrize(("layers", "least"), [(1, 6), (2, 12), (3, 24), (6, 192)])
def test_what_is_too_small_is_refused_with_what_would_fit(layers: int, least: int) -> None:
    network = patchgan(layers)
    assert grid(network, least, least + 1).rows == 1
    with pytest.raises(ValueError, match=rf"{least}x{least - 1} is too small.*at least {least}x"):
        grid(network, least - 1, least)
    with pytest.raises(RuntimeError):  # the control: it cannot be done
        network(torch.zeros(1, 1, least - 1, least, dtype=torch.float64))


def test_one_number_rests_on_the_whole_image() -> None:
    found = grid(patchgan(whole_image=True), 40, 56)
    assert (found.rows, found.columns) == (1, 1) and found.box(0, 0) == (0, 0, 40, 56)
    with pytest.raises(ValueError, match="too small"):
        grid(patchgan(whole_image=True), 20, 56)


def test_layers_that_are_not_known_are_no_guess() -> None:
    network = patchgan()
    network.layers.append(nn.AvgPool2d(2))
    with pytest.raises(TypeError, match="AvgPool2d"):
        grid(network, 64, 64)
    assert patch_grid(nn.Conv2d(1, 1, 3), 64, 64) is None  # a discriminator without a patch grid
