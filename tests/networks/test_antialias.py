"""Test anti-aliased sampling: values of the filters, sizes, and the layers that CUT taps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from viceversa.networks.antialias import BlurDown, BlurUp
from viceversa.networks.patchgan import PatchGAN
from viceversa.networks.resnet import ResidualBlock, ResNet


def resnet(**more: int) -> ResNet:
    torch.manual_seed(0)
    settings = {"width": 2, "blocks": 6, "antialias": True, **more}
    return ResNet(ResNet.Config(**settings), 3, 3)  # type: ignore[arg-type]


def outer(*values: float) -> Tensor:
    line = torch.tensor(values)
    return line[:, None] * line


def test_values_of_the_blur_before_downsampling() -> None:
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 16
    assert torch.equal(BlurDown()(image)[0, 0], torch.diag(torch.tensor([0.0, 4.0, 0.0])))
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 1, 1] = 16  # counted twice in the first row and column, by reflection
    assert torch.equal(BlurDown()(image)[0, 0], outer(2, 1, 0))


def test_values_of_the_blur_after_upsampling() -> None:
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 16
    assert torch.equal(BlurUp()(image)[0, 0], outer(0, 1, 3, 3, 1, 0))
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 0, 0] = 16  # replicated at the border
    assert torch.equal(BlurUp()(image)[0, 0], outer(4, 3, 1, 0, 0, 0))


def test_constants_and_channels_are_kept() -> None:
    levels = torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1)
    for blur, height, width in ((BlurDown(), 4, 3), (BlurUp(), 14, 10)):
        assert torch.allclose(blur(levels.expand(1, 3, 7, 5)), levels.expand(1, 3, height, width))


def test_a_checkerboard_disappears_in_downsampling() -> None:
    rows = torch.arange(8)
    board = ((rows[:, None] + rows) % 2 * 2.0 - 1)[None, None]
    assert float(BlurDown()(board).abs().max()) == 0
    assert float(board[:, :, ::2, ::2].abs().max()) == 1  # negative control: without the blur


def test_the_filters_have_no_state() -> None:
    plain = ResNet(ResNet.Config(width=2, blocks=6, upsample="resize"), 3, 3)
    shapes = [[t.shape for t in one.state_dict().values()] for one in (plain, resnet())]
    assert shapes[0] == shapes[1]


def test_features_are_the_layers_of_cut() -> None:
    network, image = resnet(), torch.randn(1, 3, 32, 48)
    layers = [0, 4, 8, 12, 16]
    assert [tuple(x.shape[1:]) for x in network.features(image, layers)] == [
        (3, 38, 54),
        (4, 32, 48),
        (8, 16, 24),
        (8, 8, 12),
        (8, 8, 12),
    ]
    assert network.feature_channels(layers) == [3, 4, 8, 8, 8]
    assert all(isinstance(network.layers[n], nn.Conv2d) for n in (4, 8))
    blocks = [m for m in network.layers if isinstance(m, ResidualBlock)]
    assert [network.layers[n] for n in (12, 16)] == [blocks[0], blocks[4]]


def test_features_of_the_same_places_without_antialiasing() -> None:
    network = resnet(antialias=False)
    layers = [0, 4, 7, 10, 14]
    shapes = [x.shape[1:] for x in network.features(torch.randn(1, 3, 32, 32), layers)]
    assert [tuple(shape) for shape in shapes] == [
        (3, 38, 38),
        (4, 16, 16),  # this convolution has a stride of 2
        (8, 8, 8),
        (8, 8, 8),
        (8, 8, 8),
    ]
    blocks = [m for m in network.layers if isinstance(m, ResidualBlock)]
    assert [network.layers[n] for n in (10, 14)] == [blocks[0], blocks[4]]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 20)])
def test_the_generator_keeps_sizes_and_has_gradients(height: int, width: int) -> None:
    network = resnet()
    assert (network.multiple, network.smallest) == (4, 8)
    out = network(torch.randn(2, 3, height, width))
    assert out.shape == (2, 3, height, width)
    out.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_size_of_the_score_map_and_activations() -> None:
    network = PatchGAN(PatchGAN.Config(width=2, norm="instance", antialias=True), 3)
    image = torch.randn(1, 3, 256, 256)
    assert network(image)[0].shape == (1, 1, 30, 30)
    sides = [x.shape[2] for x in network.features(image)]
    assert sides == [255, 127, 63, 31]  # before the blur
