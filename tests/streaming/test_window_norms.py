"""Norms with the statistics of windows: those of a crop at its centre, and no seams."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_banded_networks import NETWORKS, NORMS, computed, whole
from torch import Tensor, nn

from viceversa.networks.config import ResNetConfig
from viceversa.networks.norms import GroupNorm, InstanceNorm
from viceversa.networks.resnet import ResNet
from viceversa.streaming import BandedNetwork, Windows
from viceversa.streaming.graph import reach
from viceversa.streaming.windows import WindowAxis, WindowNorm


def windowed(network: nn.Module, image: Tensor, side: int, folder: Path, band: int = 8) -> Tensor:
    shape = image.shape[1], image.shape[2], image.shape[3]
    windows = Windows(network, shape, (min(side, shape[1]), min(side, shape[2])))
    windows.measure(lambda start, end: image[:, :, start:end])
    made = BandedNetwork(network, shape, 10**9, windows.norms)
    assert len(made.plan.passes) == 1 and made.plan.scratch == 0
    return computed(made, image, folder, band)


@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm != "none"])
@pytest.mark.parametrize("name", NETWORKS)
def test_one_window_has_the_statistics_of_the_whole_image(
    name: str, norm: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    network = NETWORKS[name](norm).eval()
    image = torch.rand(1, 2, 64, 48) * 2 - 1
    output = windowed(network, image, 64, tmp_path)
    torch.testing.assert_close(output, whole(network, image), rtol=0, atol=2e-5)


def test_statistics_between_windows_are_those_of_both() -> None:
    """Means 0 and 4, variances 1 and 9: in the middle, 2 and (1 + 0 + 9 + 16) / 2 - 4 = 9."""
    axes = WindowAxis.of(20, 10), WindowAxis.of(10, 10)
    assert axes[0].centres == [5, 15]
    layer = InstanceNorm(1, affine=True, eps=0.0)
    nn.init.constant_(layer.weight, 3.0)
    nn.init.constant_(layer.bias, 0.5)
    norm = WindowNorm(layer, (1, 20, 10), axes, torch.device("cpu"))
    image = torch.full((1, 1, 20, 10), 5.0)
    with torch.inference_mode():
        norm.measure(0, 0, torch.tensor([-1.0, 1.0]).reshape(1, 1, 1, 2))
        norm.measure(1, 0, torch.tensor([1.0, 7.0]).reshape(1, 1, 1, 2))
        output = norm.rows(image[:, :, 2:], 2, 4, 20)[0, 0]
    # Pixels have their values at their centres: the first centre is between rows 4 and 5.
    mean, variance = 0.05 * 4, 0.95 * 1 + 0.05 * (9 + 16)
    expected = 3 * (5 - mean) / (variance - mean**2) ** 0.5 + 0.5
    assert output[0].tolist() == pytest.approx([3 * 5.0 + 0.5] * 10)  # row 4
    assert output[1].tolist() == pytest.approx([expected] * 10)  # row 5
    assert output[5:7].mean() == pytest.approx(3 * (5 - 2) / 3 + 0.5, abs=0.1)  # rows 9 and 10
    assert output[15].tolist() == pytest.approx([3 * (5 - 4) / 3 + 0.5] * 10)


def test_small_variances_beside_large_means_are_exact() -> None:
    axes = WindowAxis.of(4, 2), WindowAxis.of(8, 8)
    layer = InstanceNorm(1, eps=1e-12)
    norm = WindowNorm(layer, (1, 4, 8), axes, torch.device("cpu"))
    image = torch.randn(1, 1, 4, 8) * 1e-3
    image[:, :, :2] += 10
    image[:, :, 2:] -= 10
    with torch.inference_mode():
        norm.measure(0, 0, image[:, :, :2])
        norm.measure(1, 0, image[:, :, 2:])
        output = norm.rows(image, 0, 0, 4)
        expected = layer(image[:, :, :2])
    torch.testing.assert_close(output[:, :, :1], expected[:, :, :1], rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    "layer", [GroupNorm(4, 2, eps=0.0), InstanceNorm(4, eps=1e-3, std_eps=True)]
)
def test_other_norms_in_a_map_of_half_the_resolution(layer: nn.Module) -> None:
    """Two windows side by side."""
    axes = WindowAxis.of(8, 8), WindowAxis.of(16, 8)
    image = torch.randn(1, 4, 4, 8)
    image[:, :, :, 4:] *= 5
    norm = WindowNorm(layer, (4, 4, 8), axes, torch.device("cpu"))
    with torch.inference_mode():
        for column, left in enumerate((0, 4)):
            norm.measure(0, column, image[:, :, :, left : left + 4])
        output = norm.rows(image, 0, 0, 4)
        first, last = layer(image[:, :, :, :4]), layer(image[:, :, :, 4:])
    # Columns before the first centre and after the last one.
    torch.testing.assert_close(output[:, :, :, :2], first[:, :, :, :2])
    torch.testing.assert_close(output[:, :, :, 6:], last[:, :, :, 2:])


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_windows_have_the_result_of_one(name: str, tmp_path: Path) -> None:
    """The image repeats with the period of the windows, so that all have the same statistics."""
    torch.manual_seed(4)
    network = NETWORKS[name]("instance").eval()
    tile = torch.rand(1, 2, 64, 64) * 2 - 1
    alone = Windows(network, (2, 64, 64), (64, 64))
    alone.measure(lambda start, end: tile[:, :, start:end])
    several = Windows(network, (2, 192, 128), (64, 64))
    image = tile.repeat(1, 1, 3, 2)
    several.measure(lambda start, end: image[:, :, start:end])
    assert several.count == 6 and several.bytes == 6 * alone.bytes > 0
    output = windowed(network, image, 64, tmp_path)
    assert torch.isfinite(output).all() and output.shape[2:] == (192, 128)
    for one, other in zip(alone._norms.values(), several._norms.values(), strict=True):
        torch.testing.assert_close(one.mean.expand_as(other.mean), other.mean)
        torch.testing.assert_close(one.variance.expand_as(other.variance), other.variance)


@pytest.mark.parametrize(("length", "side"), [(64, 64), (65, 64), (200, 64), (7, 3)])
def test_windows_cover_an_axis_without_gaps(length: int, side: int) -> None:
    axis = WindowAxis.of(length, side)
    ends = [start + side for start in axis.starts]
    assert axis.starts[0] == 0 and ends[-1] == length
    assert all(start <= end for start, end in zip(axis.starts[1:], ends, strict=False))


def test_an_output_depends_on_windows_nearby_only(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = ResNet(ResNetConfig(width=4, blocks=1), 1, 1).eval()
    side, edge = 64, reach(network, 1, network.multiple)
    image = torch.rand(1, 1, 4 * side, side) * 2 - 1
    first = windowed(network, image, side, tmp_path)
    torch.testing.assert_close(first, windowed(network, image, side, tmp_path, 512))
    image[:, :, 3 * side :] *= 0.1
    changed = windowed(network, image, side, tmp_path)
    before = 2 * side + side // 2 - edge  # the centre of the third window
    assert before > side
    torch.testing.assert_close(changed[:, :, :before], first[:, :, :before], rtol=0, atol=1e-5)
    assert (changed - first)[:, :, before + side :].abs().max() > 0.05
    assert (whole(network, image)[:, :, :before] - first[:, :, :before]).abs().max() > 0.05


def test_windows_have_no_seams(tmp_path: Path) -> None:
    """The contrast of the image changes gradually; tiles, each with its own, have edges."""
    torch.manual_seed(3)
    network = ResNet(ResNetConfig(width=4, blocks=1), 1, 1).eval()
    side = 64
    image = (torch.rand(side) * 2 - 1) * torch.linspace(0.1, 1, 4 * side)[:, None]
    outputs = [
        windowed(network, image[None, None], side, tmp_path),
        torch.cat([whole(network, tile[None, None]) for tile in image.split(side)], dim=2),
    ]
    seams = []
    for output in outputs:
        changes = output.diff(dim=2).abs().mean(dim=(0, 1, 3))
        borders = torch.tensor([side - 1, 2 * side - 1, 3 * side - 1])
        seams.append(float(changes[borders].mean() / changes[borders - side // 4].mean()))
    assert abs(seams[0] - 1) < 0.1 and seams[1] > 1.2, seams
