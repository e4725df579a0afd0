"""Test the patches of a score map, computed from the layers, against gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viceversa.networks import DISCRIMINATORS
from viceversa.networks.patch_grid import PatchGrid, patch_grid
from viceversa.networks.patchgan import PatchGAN, PixelGAN

FIELDS = [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286), (6, 574)]
ANTIALIASED_FIELDS = [(1, 18), (2, 40), (3, 84), (4, 172)]


def patchgan(layers: int = 3, norm: Any = "none", **more: Any) -> PatchGAN:
    torch.manual_seed(layers)
    return PatchGAN(PatchGAN.Config(width=2, layers=layers, norm=norm, **more), 1).double()


def grid(network: nn.Module, height: int, width: int) -> PatchGrid:
    result = patch_grid(network, height, width)
    assert result is not None
    return result


def gradient_box(
    network: nn.Module, height: int, width: int, i: int, j: int
) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right) of the pixels that a score depends on."""
    image = torch.randn(1, 1, height, width, dtype=torch.float64, requires_grad=True)
    scores: Tensor = network(image)[0]
    scores[0, 0, i, j].backward()
    assert image.grad is not None
    rows, columns = (image.grad[0, 0].abs().sum(axis).nonzero()[:, 0] for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def positions(result: PatchGrid) -> list[tuple[int, int]]:
    """Return the corners and the centre of a score map."""
    rows, columns = result.rows - 1, result.columns - 1
    return [(0, 0), (0, columns), (rows, 0), (rows, columns), (rows // 2, columns // 2)]


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "field"), FIELDS)
@pytest.mark.parametrize("padding", ["one", "two", "same"])
@pytest.mark.parametrize("more", [(0, 0), (13, 40)])
def test_score_depends_on_exactly_its_patch(
    layers: int, field: int, padding: Any, more: tuple[int, int]
) -> None:
    network = patchgan(layers, padding=padding)
    height, width = max(96, field) + more[0], max(96, field) + more[1]
    result = grid(network, height, width)
    assert (result.size, result.stride) == (field, 2**layers)
    for position in positions(result):
        assert gradient_box(network, height, width, *position) == result.box(*position)


@pytest.mark.parametrize(("layers", "field"), ANTIALIASED_FIELDS)
@pytest.mark.parametrize("padding", ["one", "same"])
@pytest.mark.parametrize("more", [0, 13])
def test_score_depends_on_exactly_its_patch_with_antialiasing(
    layers: int, field: int, padding: Any, more: int
) -> None:
    network = patchgan(layers, padding=padding, antialias=True)
    height, width = max(96, field) + more, max(96, field) + 2 * more
    result = grid(network, height, width)
    assert (result.size, result.stride) == (field, 2**layers)
    for position in positions(result):
        assert gradient_box(network, height, width, *position) == result.box(*position)


def test_patch_of_pixelgan_is_one_pixel() -> None:
    network = PixelGAN(PixelGAN.Config(width=2, norm="none"), 1).double()
    result = grid(network, 5, 7)
    assert result == PatchGrid(5, 7, 5, 7, 1, 1, 0, 0)
    assert gradient_box(network, 5, 7, 3, 4) == result.box(3, 4) == (3, 4, 4, 5)


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_norm_statistics_depend_on_the_image_beyond_the_patch(norm: Any) -> None:
    """Boxes ignore the mean and variance of norms, as the docstring of `patch_grid` says."""
    network = patchgan(2, norm).eval()
    result = grid(network, 96, 96)
    assert result.box(0, 0) == grid(patchgan(2), 96, 96).box(0, 0)
    assert gradient_box(network, 96, 96, 0, 0) == (0, 0, 96, 96) != result.box(0, 0)


@pytest.mark.parametrize("name", DISCRIMINATORS)
@pytest.mark.parametrize("padding", ["one", "two", "same"])
@pytest.mark.parametrize("antialias", [False, True])
def test_score_map_has_the_size_of_the_grid(name: str, padding: str, antialias: bool) -> None:
    network_class, config = DISCRIMINATORS[name]
    settings = {"padding": padding, "antialias": antialias} if name == "patchgan" else {}
    network = network_class(config(width=2, norm="none", **settings), 1)
    for height in (24, 31, 64, 101):
        for width in (25, 40):
            result = grid(network, height, width)
            assert network(torch.zeros(1, 1, height, width))[0].shape[2:] == result[2:4]


def test_known_grids() -> None:
    """Grids of the papers, and of the discriminator of the recipe `gdl`."""
    assert grid(patchgan(), 256, 256) == PatchGrid(256, 256, 30, 30, 70, 8, -23, -23)
    antialiased = grid(patchgan(antialias=True), 256, 256)
    assert antialiased == PatchGrid(256, 256, 30, 30, 84, 8, -30, -30)
    same = grid(patchgan(padding="same"), 128, 128)
    assert same == PatchGrid(128, 128, 16, 16, 70, 8, -23, -23)
    assert same.box(0, 15) == (0, 97, 47, 128)
    assert same.centre(0, 15) == (11.5, 131.5)  # "same" pads more after the image than before it


def test_centres_are_symmetric_about_the_centre_of_the_image() -> None:
    for layers, field in FIELDS:
        side = field + 10 * 2**layers - field % 2**layers
        result = grid(patchgan(layers), side, side)
        last = result.rows - 1
        assert sum(result.centre(0, 0) + result.centre(last, last)) == pytest.approx(2 * (side - 1))


@pytest.mark.parametrize(("layers", "least"), [(1, 6), (2, 12), (3, 24), (6, 192)])
def test_too_small_image_is_refused_with_the_smallest_size(layers: int, least: int) -> None:
    network = patchgan(layers)
    assert grid(network, least, least + 1).rows == 1
    with pytest.raises(ValueError, match=rf"{least}x{least - 1} is too small.*at least {least}x"):
        grid(network, least - 1, least)
    with pytest.raises(RuntimeError):  # negative control: the network fails
        network(torch.zeros(1, 1, least - 1, least, dtype=torch.float64))


@pytest.mark.parametrize("padding", ["one", "same"])
def test_antialiasing_needs_two_pixels_to_reflect(padding: Any) -> None:
    network = patchgan(2, padding=padding, antialias=True)
    for side in range(1, 16):
        image = torch.zeros(1, 1, side, side, dtype=torch.float64)
        try:
            rows = grid(network, side, side).rows
        except ValueError:
            with pytest.raises(RuntimeError):
                network(image)
        else:
            assert side > 2 and network(image)[0].shape[2] == rows > 0


def test_patch_of_a_single_score_is_the_whole_image() -> None:
    result = grid(patchgan(whole_image=True), 40, 56)
    assert (result.rows, result.columns) == (1, 1) and result.box(0, 0) == (0, 0, 40, 56)
    with pytest.raises(ValueError, match="too small"):
        grid(patchgan(whole_image=True), 20, 56)


def test_unknown_layers_are_refused() -> None:
    network = patchgan()
    network.layers.append(nn.AvgPool2d(2))
    with pytest.raises(TypeError, match="AvgPool2d"):
        grid(network, 64, 64)
    assert patch_grid(nn.Conv2d(1, 1, 3), 64, 64) is None  # a discriminator without a patch grid
