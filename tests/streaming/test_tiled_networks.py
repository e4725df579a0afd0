"""Tiles with the overlap of the receptive field give the output of the whole image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from viceversa.errors import UserError
from viceversa.networks.config import GDLUNetConfig, ResNetConfig, UNetConfig
from viceversa.networks.norms import use_policy
from viceversa.networks.resnet import ResNet
from viceversa.networks.unet import GDLUNet, UNet
from viceversa.streaming import (
    TiledNetwork,
    Unknown,
    receptive_field,
    uses_image_statistics,
    whole_memory,
)
from viceversa.streaming.receptive_field import measured
from viceversa.streaming.seams import Gradients
from viceversa.streaming.tiles import TileAxis

CPU = torch.device("cpu")


def resnet(norm: str = "none", **options: object) -> nn.Module:
    config = ResNetConfig(width=4, blocks=1, norm=norm, init="kaiming", **options)  # type: ignore[arg-type]
    return ResNet(config, 2, 3)


def unet(norm: str = "none") -> nn.Module:
    return UNet(UNetConfig(width=4, depth=4, norm=norm, dropout=0.0), 2, 3)


class Branches(nn.Module):
    """Network that cannot be traced, since a condition depends on its input."""

    multiple, smallest = 2, 8

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 2:
            raise ValueError("two channels are needed")
        y: Tensor = self.layers(x)
        return torch.where(y > 0, y, 0.1 * y)


def wide() -> nn.Module:
    """Return a network that needs more columns than rows: 4 + 2 x 2 of them, and 1 + 2 x 1 rows."""
    return Branches(
        nn.Conv2d(2, 4, (3, 9), padding=(1, 4)),
        nn.InstanceNorm2d(4),
        nn.Conv2d(4, 3, (3, 3), padding=(2, 4), dilation=(2, 4)),
    )


def tiled(
    network: nn.Module, image: Tensor, stride: int = 80, **options: int
) -> tuple[Tensor, TiledNetwork]:
    """Return the output of tiles at a distance of at most `stride` pixels."""
    network.eval()
    _, channels, height, width = image.shape
    overlap = options.pop("reach", None)
    reach = receptive_field(network, channels) if overlap is None else overlap
    largest = 2 * (reach + options.get("blend", 20)) + stride

    def memory(shape: tuple[int, int, int]) -> int:
        return 0 if max(shape[1:]) <= largest + 16 else 10**9

    made = TiledNetwork(network, (channels, height, width), 10**8, reach, memory, 3, CPU, **options)
    rows: list[Tensor] = []
    made(lambda start, end: image[:, :, start:end], rows.append, Path())
    return torch.cat(rows, dim=2), made


def whole(network: nn.Module, image: Tensor) -> Tensor:
    with torch.inference_mode():
        output: Tensor = network.eval()(image)
    return output


@pytest.mark.parametrize(
    "make",
    [
        resnet,
        unet,
        lambda: resnet("instance", antialias=True),
        lambda: resnet("group", upsample="resize"),
        lambda: GDLUNet(GDLUNetConfig(width=4, depth=2, norm="batch"), 2, 3),
    ],
    ids=["resnet", "unet", "antialias", "resize", "gdl"],
)
def test_the_receptive_field_of_layers_is_the_one_that_is_measured(
    make: Callable[[], nn.Module],
) -> None:
    torch.manual_seed(0)
    network = make()
    use_policy(network)
    assert receptive_field(network, 2) == measured(network, 2) > 0


def test_receptive_fields_computed_by_hand() -> None:
    torch.manual_seed(0)
    assert receptive_field(nn.Sequential(nn.Conv2d(2, 2, 1)), 2) == 0
    two = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 5, padding=4, dilation=2))
    assert receptive_field(two, 2) == measured(two, 2) == 1 + 4
    assert measured(wide(), 2) == receptive_field(wide(), 2) == 4 + 4
    strip = nn.Sequential(nn.Conv2d(2, 2, (1, 7), padding=(0, 3)))
    assert receptive_field(strip, 2) == 3  # the receptive field of the rows is 0
    halves = nn.Sequential(nn.Conv2d(2, 2, 4, 2, 1), nn.ConvTranspose2d(2, 2, 4, 2, 1))
    halves.multiple, halves.smallest = 2, 2  # type: ignore[assignment]
    # rows 2i - 1 to 2i + 2 become row i, which is added to rows 2i - 1 to 2i + 2: row -1 becomes
    # a part of row 0, and so of rows 0 to 2
    assert receptive_field(halves, 2) == measured(halves, 2) == 3


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=(2, 3), keepdim=True)


def test_a_receptive_field_without_bound_is_refused() -> None:
    with pytest.raises(Unknown, match="the whole image, or more than 1024 pixels"):
        receptive_field(Branches(nn.Conv2d(2, 3, 3, padding=1), Mean()), 2)
    with pytest.raises(Unknown, match=r"could not be measured \(two channels are needed"):
        receptive_field(Branches(nn.Conv2d(1, 3, 3, padding=1)), 1)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(208, 176), (64, 304), (320, 48)])
@pytest.mark.parametrize(
    "make",
    [resnet, lambda: resnet("batch"), unet, lambda: Branches(nn.Conv2d(2, 3, 9, padding=4))],
    ids=["resnet", "running", "unet", "unknown"],
)
def test_the_output_is_that_of_the_whole_image(
    make: Callable[[], nn.Module], size: tuple[int, int]
) -> None:
    torch.manual_seed(1)
    network = make()
    network.train()(torch.rand(4, 2, 32, 32))  # updates the running statistics
    use_policy(network, "running")
    assert not uses_image_statistics(network)
    image = torch.rand(1, 2, *size) * 2 - 1
    output, made = tiled(network, image)
    assert made.count > 1
    expected = whole(network, image)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    assert abs(made.seam_score() or 0) < 1e-4
    less, _ = tiled(network, image, reach=0, blend=0)  # control
    assert (less - expected).abs().max() > 1e-3


def test_norms_with_statistics_of_tiles_leave_seams_that_blending_hides() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.InstanceNorm2d(3))
    assert uses_image_statistics(network)
    image = torch.linspace(-1, 1, 256).expand(1, 2, 256, 256) + 0.1 * torch.rand(1, 2, 256, 256)
    expected = whole(network, image)
    blended, made = tiled(network, image)
    cropped, control = tiled(network, image, blend=0)
    assert (blended - expected).abs().max() > 0.01
    score = made.seam_score()
    assert score is not None and abs(score) < 0.2

    def ratio(output: Tensor, borders: list[int]) -> float:
        gradients = Gradients(256)
        gradients.add(output)
        return gradients.across([], borders, 1) or 0.0

    assert ratio(cropped, control.columns.borders) > 1.5 + ratio(expected, control.columns.borders)
    borders = made.columns.borders
    assert ratio(blended, borders) - ratio(expected, borders) == pytest.approx(score, abs=0.2)


@pytest.mark.parametrize("blend", [0, 20])
def test_tiles_cover_an_image_with_weights_of_one(blend: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        multiple, extra, field, units = (
            int(torch.randint(1, most, (), generator=generator)) for most in (17, 40, 40, 200)
        )
        overlap, length = 2 * (field + blend), multiple * units
        tile = -(-(overlap + 80 + extra) // multiple) * multiple
        axis = TileAxis(length, tile, overlap, multiple, blend)
        total = torch.zeros(length)
        for number, start in enumerate(axis.starts):
            low, high = axis.part(number)
            total[low:high] += axis.weights(number)
            assert start % multiple == 0 and start + axis.tile <= length
            assert low == start == 0 or low - start >= field
            assert high == start + axis.tile == length or start + axis.tile - high >= field
        torch.testing.assert_close(total, torch.ones(length))


def test_the_seam_score_is_the_gradient_at_borders_relative_to_others() -> None:
    image = torch.arange(64.0).repeat(1, 1, 64, 1)  # a gradient of 1 in each row
    image[:, :, :, 32:] += 2
    gradients = Gradients(64)
    for start in range(0, 64, 10):
        gradients.add(image[:, :, start : start + 10])
    assert gradients.across([], [32], 4) == pytest.approx(3)
    assert gradients.across([], [16], 8) == pytest.approx(1 / ((3 + 1 + 1) / 3))
    assert gradients.across([32], [], 4) is None  # there is no gradient from row to row


def test_one_tile_has_no_seams_and_little_memory_is_refused() -> None:
    image = torch.rand(1, 2, 48, 48)
    output, made = tiled(resnet(), image)
    assert made.count == 1 and made.seam_score() is None
    assert output.shape == (1, 3, 48, 48)
    network = resnet("instance")
    shape, reach = (2, 800, 640), receptive_field(network, 2)
    sizes = [
        TiledNetwork(
            network, shape, memory, reach, lambda shape: whole_memory(network, shape), 3, CPU
        )
        for memory in (45 * 10**6, 60 * 10**6)
    ]
    assert sizes[0].memory <= 45 * 10**6 < sizes[1].memory <= 60 * 10**6
    assert sizes[0].count > sizes[1].count > 1
    with pytest.raises(UserError, match=r"the smallest ones, and 1.00 MB may be used") as caught:
        TiledNetwork(
            network, shape, 10**6, reach, lambda shape: whole_memory(network, shape), 3, CPU
        )
    assert caught.value.option == "--memory"
