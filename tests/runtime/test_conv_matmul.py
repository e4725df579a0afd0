"""Convolutions as matrix products: same results, and used only where they are faster."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viceversa.networks.sizes import check_size
from viceversa.networks.unet import UNet
from viceversa.runtime import conv_matmul
from viceversa.runtime.activation_checkpointing import checkpoint_blocks
from viceversa.runtime.conv_matmul import (
    conv_by_matmul,
    convolve_by_matmul,
    output_size,
    transposed_conv_by_matmul,
)

Layer = nn.Conv2d | nn.ConvTranspose2d


def gradients(layer: Layer, output: Tensor, x: Tensor) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    upstream = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    return list(torch.autograd.grad(output, [*layer.parameters(), x], upstream.to(output.dtype)))


def max_difference(one: list[Tensor], two: list[Tensor]) -> float:
    assert [x.shape for x in one] == [x.shape for x in two]
    return max(float((a - b).detach().abs().max()) for a, b in zip(one, two, strict=True))


def assert_equals_layer(layer: Layer, output: Tensor, x: Tensor) -> None:
    """Check that the output and its gradients equal those of `layer(x)`."""
    expected = layer(x)
    assert output_size(layer, *x.shape[2:]) == tuple(expected.shape[2:])
    assert max_difference([output], [expected]) < 1e-12
    assert max_difference(gradients(layer, output, x), gradients(layer, expected, x)) < 1e-12


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_conv_by_matmul_equals_the_layer(kernel: int, stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    paddings, tried = range(dilation * (kernel - 1) + 1), 0
    for padding, bias, count, sides in product(paddings, (True, False), (1, 3), ((7, 9), (8, 7))):
        layer = nn.Conv2d(2, 3, kernel, stride, padding, dilation, bias=bias).double()
        x = torch.randn(count, 2, *sides, dtype=torch.float64, requires_grad=True)
        assert_equals_layer(layer, conv_by_matmul(layer, x), x)
        tried += 1
    assert tried >= 8


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_transposed_conv_by_matmul_equals_the_layer(
    kernel: int, stride: int, dilation: int
) -> None:
    torch.manual_seed(0)
    paddings, tried = range(dilation * (kernel - 1) + 1), 0
    for padding, output_padding, bias, count, sides in product(
        paddings, range(stride), (True, False), (1, 3), ((5, 7), (6, 5))
    ):
        layer = nn.ConvTranspose2d(
            2, 3, kernel, stride, padding, output_padding, bias=bias, dilation=dilation
        ).double()
        if min(output_size(layer, *sides)) < 1:
            continue
        x = torch.randn(count, 2, *sides, dtype=torch.float64, requires_grad=True)
        assert_equals_layer(layer, transposed_conv_by_matmul(layer, x), x)
        tried += 1
    assert tried >= 8


def test_control_detects_transposed_kernels() -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1).double()
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    expected = layer(x)
    layer.weight.data = layer.weight.data.transpose(2, 3).contiguous()
    assert max_difference([conv_by_matmul(layer, x)], [expected]) > 1e-3


# -- where it is used


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which every call of the two functions adds the name of the function."""
    names: list[str] = []
    for name in ("conv_by_matmul", "transposed_conv_by_matmul"):
        real = getattr(conv_matmul, name)

        def record(layer: Layer, x: Tensor, name: str = name, real: Any = real) -> Tensor:
            names.append(name)
            result: Tensor = real(layer, x)
            return result

        monkeypatch.setattr(conv_matmul, name, record)
    return names


def with_matmul(layer: nn.Module) -> nn.Module:
    convolve_by_matmul(layer)
    return layer


@pytest.mark.parametrize(
    ("layer", "shape", "replaced"),
    [
        # 64 x 64 x 4 x 4 = 65536 weights: 16 times the 4096 values of an 8x8 map.
        (nn.Conv2d(64, 64, 4, 2, 1), (1, 64, 8, 8), True),
        (nn.Conv2d(64, 64, 4, 2, 1), (1, 64, 8, 10), False),
        (nn.Conv2d(64, 64, 4, 2, 1), (2, 64, 8, 8), False),
        (nn.Conv2d(64, 64, 4, 2, 1), (4, 64, 4, 4), True),
        # For a transposed convolution, the output is the larger map.
        (nn.ConvTranspose2d(64, 64, 4, 2, 1), (1, 64, 4, 4), True),
        (nn.ConvTranspose2d(64, 64, 4, 2, 1), (1, 64, 4, 5), False),
        # Options that the matrix products do not support.
        (nn.Conv2d(64, 64, 4, 2, 1, groups=2), (1, 64, 2, 2), False),
        (nn.Conv2d(64, 64, (4, 3), 2, 1), (1, 64, 4, 4), False),
        (nn.Conv2d(64, 64, 4, (2, 1), 1), (1, 64, 4, 4), False),
        (nn.Conv2d(64, 64, 4, 2, (1, 0)), (1, 64, 4, 4), False),
        (nn.Conv2d(64, 64, 4, 1, "same"), (1, 64, 4, 4), False),
        (nn.Conv2d(64, 64, 3, 1, 1, padding_mode="reflect"), (1, 64, 4, 4), False),
        (nn.ConvTranspose2d(64, 64, 4, 2, 1, (0, 1)), (1, 64, 3, 3), False),
        (nn.ConvTranspose2d(64, 64, 4, 1, 0, 1, dilation=2), (1, 64, 1, 1), False),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_matmul_is_used_where_weights_outnumber_the_values_of_the_map(
    layer: Layer, shape: tuple[int, ...], replaced: bool, calls: list[str]
) -> None:
    x = torch.randn(shape)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = layer(x)
        assert calls == []
        output = with_matmul(layer)(x)
    kind = (
        "transposed_conv_by_matmul" if isinstance(layer, nn.ConvTranspose2d) else "conv_by_matmul"
    )
    assert calls == ([kind] if replaced else [])
    assert output.dtype == expected.dtype == torch.bfloat16 and output.shape == expected.shape
    bound = 2**-6 * float(expected.detach().max())
    assert max_difference([output.float()], [expected.float()]) < bound


def test_matmul_is_used_in_bf16_only(calls: list[str]) -> None:
    layer = nn.Conv2d(64, 64, 4, 2, 1)
    x = torch.randn(1, 64, 4, 4)
    before = layer(x)
    with_matmul(layer)
    assert torch.equal(layer(x), before)
    with torch.autocast("cpu", dtype=torch.float16):
        layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=False):
        assert torch.equal(layer(x), before)
    assert calls == []
    with torch.autocast("cpu", dtype=torch.bfloat16):  # the control
        assert not torch.equal(layer(x).float(), before)
    assert calls == ["conv_by_matmul"]


def small_unet() -> UNet:
    torch.manual_seed(0)
    return UNet(UNet.Config(width=16, depth=5, norm="instance", dropout=0.0), 3, 3)


def test_a_network_keeps_its_state_dict_names_and_float32_results(calls: list[str]) -> None:
    plain, other = small_unet(), with_matmul(small_unet())
    assert list(plain.state_dict()) == list(other.state_dict())
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(plain(x), other(x)) and calls == []
    other.load_state_dict(plain.state_dict())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = plain(x).float()
        output = other(x).float()
    assert {"conv_by_matmul", "transposed_conv_by_matmul"} == set(calls)
    assert max_difference([output], [expected]) < 0.05


def naive_products(network: nn.Module) -> None:
    """Replace forward with closures over the layer (the control: wrong in copies)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            convolve = layer.forward
            layer.forward = lambda x, one=layer, old=convolve: conv_matmul._faster(one, old, x)  # type: ignore[method-assign]


@pytest.mark.parametrize("half", [True, False])
def test_a_copy_uses_its_own_weights(half: bool, calls: list[str]) -> None:
    def blank_copy(convolve: Any) -> tuple[float, float]:
        """Return the largest output of a network and of its copy with all weights 0."""
        layer = nn.Sequential(nn.Conv2d(64, 64, 4, 2, 1))
        convolve(layer)
        copied = copy.deepcopy(layer)
        for weight in copied.parameters():
            nn.init.zeros_(weight)
        x = torch.ones(1, 64, 4, 4)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            return float(layer(x).abs().max()), float(copied(x).abs().max())

    own, copied = blank_copy(convolve_by_matmul)
    assert own > 0 and copied == 0
    assert calls == (["conv_by_matmul"] * 2 if half else [])
    _, naive = blank_copy(naive_products)
    assert naive > 0


def test_check_size_works_on_a_changed_network() -> None:
    """`check_size` runs on meta tensors after a failed step and changes no weights."""
    one = small_unet()
    convolve_by_matmul(one), checkpoint_blocks(one)
    before = copy.deepcopy(one.state_dict())
    check_size(one, 3, 32, 64, 1)
    with pytest.raises(ValueError, match="multiples of 32"):
        check_size(one, 3, 40, 64, 1)
    assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())
    assert one(torch.randn(1, 3, 32, 32)).shape == (1, 3, 32, 32)


# -- accuracy


def inner_layers() -> list[tuple[Layer, int]]:
    """Return the layers of pix2pix's U-Net at 256 px with maps of 16x16 and less."""
    config = UNet.Config()
    widest = 8 * config.width
    downs = [(nn.Conv2d(widest, widest, 4, 2, 1, bias=False), side) for side in (16, 8, 4, 2)]
    ups = [
        (nn.ConvTranspose2d(widest * (1 if side == 1 else 2), widest, 4, 2, 1, bias=False), side)
        for side in (1, 2, 4, 8)
    ]
    return [*downs, *ups]


def test_the_inner_layers_are_those_of_the_network() -> None:
    with torch.device("meta"):
        network = UNet(UNet.Config(), 3, 3)
        kinds = [(type(layer), layer.weight.shape) for layer, _ in inner_layers()]
    all_layers = [
        (type(m), m.weight.shape)
        for m in network.modules()
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
    ]
    assert all(kind in all_layers for kind in kinds)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(8))
def test_bf16_errors_are_at_most_1_5_times_those_of_the_convolution(
    index: int, calls: list[str]
) -> None:
    """Relative errors of the output and both gradients against float64."""
    torch.manual_seed(index)
    layer, side = inner_layers()[index]
    nn.init.normal_(layer.weight, std=0.02)
    x = torch.randn(1, layer.in_channels, side, side)

    def results(one: Layer, images: Tensor, half: bool) -> list[Tensor]:
        images = images.requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            output = one(images)
        return [output.detach(), *gradients(one, output, images)]

    exact = results(copy.deepcopy(layer).double(), x.double(), False)
    plain = results(layer, x.clone(), True)
    assert calls == []
    ours = results(with_matmul(layer), x.clone(), True)  # type: ignore[arg-type]
    assert len(calls) == 1

    def errors(found: list[Tensor]) -> list[float]:
        return [
            float((one.double() - true).norm() / true.norm())
            for one, true in zip(found, exact, strict=True)
        ]

    for mine, convolution in zip(errors(ours), errors(plain), strict=True):
        assert 0 < mine < 0.01 and mine < 1.5 * convolution
