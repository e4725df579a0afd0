"""Test forward passes and losses in float64 against values of the reference implementation.

The values were computed once with the networks and model classes of the reference implementation
(those of GDL with two independent implementations), with weights and inputs given by formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from viceversa.batch import Batch
from viceversa.methods.base import Method
from viceversa.methods.cyclegan import CycleGAN
from viceversa.methods.flow import smoothness, warp
from viceversa.methods.pix2pix import Pix2Pix
from viceversa.networks.norms import use_policy
from viceversa.networks.patchgan import PatchGAN, PixelGAN
from viceversa.networks.registration import RegistrationNet
from viceversa.networks.resnet import ResNet
from viceversa.networks.sizes import parameters
from viceversa.networks.unet import GDLUNet, UNet


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def fill(network: nn.Module, first: int = 0) -> nn.Module:
    """Set element i of convolution l to 0.05 (q / 510 - 1), q = (i^2 + 31 l i + 17 l) mod 1021."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    for number, layer in enumerate(layers, start=first):
        i = torch.arange(layer.weight.numel(), dtype=torch.long)
        q = (i * i + 31 * number * i + 17 * number) % 1021
        layer.weight.data = (0.05 * (q.double() / 510 - 1)).view_as(layer.weight)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            parameter.data.fill_(0.0 if name.endswith("bias") else 1.0)
    return network.train()


def inputs(size: int) -> tuple[Tensor, Tensor]:
    n = torch.arange(2.0).view(2, 1, 1, 1)
    c = torch.arange(1.0, 4.0).view(1, 3, 1, 1)
    y, x = torch.arange(float(size)).view(1, 1, -1, 1), torch.arange(float(size)).view(1, 1, 1, -1)
    return torch.sin(0.11 * y + 0.05 * x * c + n), torch.cos(0.07 * x * c + 0.03 * y + 2 * n)


def unet(depth: int, norm: str) -> UNet:
    return UNet(UNet.Config(width=8, depth=depth, norm=norm, dropout=0.0), 3, 3)  # type: ignore[arg-type]


def patchgan(channels: int, norm: str, padding: str = "one") -> PatchGAN:
    config = PatchGAN.Config(width=8, norm=norm, padding=padding)  # type: ignore[arg-type]
    return PatchGAN(config, channels)


def resnet(blocks: int) -> ResNet:
    return ResNet(ResNet.Config(width=8, blocks=blocks), 3, 3)


def gdl(norm: str) -> GDLUNet:
    return GDLUNet(GDLUNet.Config(width=8, norm=norm), 3, 3)  # type: ignore[arg-type]


G128, D14 = ("0,0,0,0", "0,1,50,18", "1,2,127,127"), ("0,0,0,0", "0,0,5,9", "1,0,13,13")
D16, PIXEL = ("0,0,0,0", "0,0,5,9", "1,0,15,15"), ("0,0,0,0", "0,0,50,18", "1,0,127,127")
Row = tuple[Callable[[], nn.Module], int, bool, int, float, float, tuple[str, ...], list[float]]
ROWS: dict[str, Row] = {
    "unet_256 batch": (
        lambda: unet(8, "batch"),
        256,
        False,
        852_307,
        0.0108773265,
        0.1163361399,
        ("0,0,0,0", "0,1,100,36", "1,2,255,255"),
        [-0.0109626841, 0.0193265061, -0.0224399738],
    ),
    "unet_128 instance": (
        lambda: unet(7, "instance"),
        128,
        False,
        655_027,
        -0.0015065191,
        0.1032226836,
        G128,
        [-0.0174649214, -0.0745282537, -0.0753073389],
    ),
    "resnet_9 instance": (
        lambda: resnet(9),
        128,
        False,
        180_419,
        -0.0386445768,
        0.3061205904,
        G128,
        [0.4301601094, 0.6404601722, 0.4302195965],
    ),
    "resnet_6 instance": (
        lambda: resnet(6),
        128,
        False,
        124_931,
        0.0747267791,
        0.3061815008,
        G128,
        [-0.1220515816, -0.0969956164, 0.3861243902],
    ),
    "patchgan 3 instance": (
        lambda: patchgan(3, "instance"),
        128,
        False,
        44_537,
        -0.4303746429,
        0.5477787700,
        D14,
        [0.1816069936, -1.4132132503, -0.2246020743],
    ),
    "patchgan 6 batch": (
        lambda: patchgan(6, "batch"),
        128,
        True,
        45_033,
        -0.3946657665,
        0.5746053872,
        D14,
        [0.0189458201, -0.8152117843, -0.0556893907],
    ),
    "pixelgan 6 batch": (
        lambda: PixelGAN(PixelGAN.Config(width=8), 6),
        128,
        True,
        232,
        -0.0271702202,
        0.0287145894,
        PIXEL,
        [-0.0156539686, -0.0296192825, -0.0248882805],
    ),
    "gdl instance": (
        lambda: gdl("instance"),
        128,
        False,
        97_587,
        -0.1011786991,
        0.2772424509,
        G128,
        [-0.7183444551, 0.2777747699, -0.0006692147],
    ),
    "gdl instance-std": (
        lambda: gdl("instance-std"),
        128,
        False,
        97_587,
        -0.1004657934,
        0.2748758335,
        G128,
        [-0.7162219292, 0.2739536056, -0.0007139859],
    ),
    "gdl d instance": (
        lambda: patchgan(3, "instance", "same"),
        128,
        False,
        44_537,
        -0.4158979811,
        0.5261147139,
        D16,
        [0.1772832590, -1.4559110672, 0.0818798872],
    ),
    "gdl d instance-std": (
        lambda: patchgan(3, "instance-std", "same"),
        128,
        False,
        44_537,
        -0.4147396227,
        0.5245033302,
        D16,
        [0.1892082063, -1.4558884979, 0.0849682859],
    ),
}


def check_output(
    out: Tensor,
    mean: float,
    std: float,
    indices: tuple[str, ...],
    values: list[float],
    tolerance: float,
) -> None:
    assert float(out.mean()) == pytest.approx(mean, abs=tolerance)
    assert float(out.std(correction=0)) == pytest.approx(std, abs=tolerance)
    elements = [float(out[tuple(int(i) for i in index.split(","))]) for index in indices]
    assert elements == pytest.approx(values, abs=tolerance)


def test_inputs_match_known_values() -> None:
    a, b = inputs(256)
    assert float(a.mean()) == pytest.approx(0.0009438265, abs=1e-9)
    assert float(a[0, 1, 100, 36]) == pytest.approx(0.8947911721, abs=1e-9)
    assert float(b[0, 1, 100, 36]) == pytest.approx(-0.1849474269, abs=1e-9)


def output(network: nn.Module, a: Tensor, b: Tensor, pair: bool) -> Tensor:
    """Return the images of a generator, or the only score map of a discriminator."""
    out = network(torch.cat([a, b], 1) if pair else a)
    if isinstance(out, list):
        (out,) = out
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_forward_pass(name: str) -> None:
    make, size, pair, count, mean, std, indices, values = ROWS[name]
    network = fill(make())
    assert parameters(network) == count
    a, b = inputs(size)
    with torch.no_grad():
        check_output(output(network, a, b, pair), mean, std, indices, values, 1e-8)


@pytest.mark.parametrize("name", ["unet_128 instance", "patchgan 6 batch"])
def test_forward_pass_in_float32(name: str) -> None:
    make, size, pair, _, mean, std, indices, values = ROWS[name]
    network = fill(make()).float()
    a, b = inputs(size)
    with torch.no_grad():
        out = output(network, a.float(), b.float(), pair)
    check_output(out, mean, std, indices, values, 1e-5)


def test_registration() -> None:
    """The flow, larger by a factor of 100 in the last layer, the warped image, the smoothness."""
    network = fill(RegistrationNet(3, 8))
    network.flow.weight.data.mul_(100)  # type: ignore[union-attr,operator]
    assert parameters(network) == 129_642
    a, b = inputs(256)
    with torch.no_grad():
        flow = network(a, b)
        warped = warp(a, flow)
    indices = ("0,0,0,0", "0,1,100,36", "1,1,255,255")
    values = [-1.8275017996, -0.5193599772, -2.1814702495]
    check_output(flow, -0.2894312893, 1.0439281277, indices, values, 1e-8)
    indices, values = (*indices[:2], "1,2,255,255"), [0.0, 0.9405966001, -0.8397354936]
    check_output(warped, -0.0083325425, 0.7051550185, indices, values, 1e-8)
    assert float(smoothness(flow)) == pytest.approx(1.1398125031, abs=1e-8)


def test_running_statistics_after_one_pass() -> None:
    network = fill(unet(8, "batch"))
    a, _ = inputs(256)
    with torch.no_grad():
        network(a)
        use_policy(network, "running")
        indices = ("0,0,0,0", "0,1,100,36", "1,2,255,255")
        values = [0.0005791331, 0.0010114929, -0.0152096833]
        check_output(network(a), 0.0033050028, 0.0218768784, indices, values, 1e-8)


def run_step(
    method: Method, batch: Batch, optimizers: dict[str, torch.optim.Adam]
) -> dict[str, float]:
    """Run a training step in its simplest form; return the losses."""
    values: dict[str, float] = {}
    players = method.players()
    for player, losses in method.step(batch):
        assert player is not None
        values |= {name: float(loss.detach()) for name, loss in losses.items()}
        weights = list(chain.from_iterable(n.parameters() for n in players[player]))
        gradients = torch.autograd.grad(sum(losses.values()), weights)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        optimizers[player].step()
    return values


def adams(method: Method) -> dict[str, torch.optim.Adam]:
    return {
        player: torch.optim.Adam(
            chain.from_iterable(n.parameters() for n in networks), 2e-4, (0.5, 0.999)
        )
        for player, networks in method.players().items()
    }


@pytest.mark.slow
def test_pix2pix_losses() -> None:
    method = Pix2Pix(
        Pix2Pix.Config(), (3, 3), lambda i, o: unet(8, "batch"), lambda i: patchgan(i, "batch")
    )
    fill(method.g_ab, 0), fill(method.d_b, 200)
    a, b = inputs(256)
    optimizers = adams(method)
    first = run_step(method, Batch(a, b), optimizers)
    assert 2 * first["d_real"] == pytest.approx(0.6930550709, abs=1e-8)
    assert 2 * first["d_fake"] == pytest.approx(0.7824209925, abs=1e-8)
    assert first["d_real"] + first["d_fake"] == pytest.approx(0.7377380317, abs=1e-8)
    assert first["g_l1"] == pytest.approx(64.0768707925, abs=1e-8)
    assert first["g_gan"] == pytest.approx(0.6691368418, abs=1e-8)  # after the step of D
    second = run_step(method, Batch(a, b), optimizers)
    found = [2 * second["d_real"], 2 * second["d_fake"], second["g_l1"]]
    assert found == pytest.approx([0.6640752265, 0.7542884204, 63.9953272670], abs=1e-8)


def test_pix2pix_gan_loss_before_any_step() -> None:
    """Negative control of the order: the loss before the discriminator step is larger."""
    g_ab, d_b = fill(unet(8, "batch")), fill(patchgan(6, "batch"), 200)
    a, _ = inputs(256)
    with torch.no_grad():
        (logits,) = d_b(torch.cat([a, g_ab(a)], 1))
    assert float(nn.functional.softplus(-logits).mean()) == pytest.approx(0.6849378077, abs=1e-8)


@pytest.mark.slow
def test_cyclegan_losses() -> None:
    config = CycleGAN.Config(lambda_identity=5.0, pool_size=0)
    method = CycleGAN(config, (3, 3), lambda i, o: resnet(9), lambda i: patchgan(i, "instance"))
    fill(method.g_ab, 0), fill(method.g_ba, 100), fill(method.d_b, 200), fill(method.d_a, 300)
    optimizers = adams(method)
    with torch.no_grad():
        turns = dict(method.step(Batch(*inputs(128))))  # without optimizer steps
    before = {name: float(v) for losses in turns.values() for name, v in losses.items()}
    expected = {
        "g_gan_ab": 1.1381737894,
        "g_gan_ba": 1.1035782484,
        "g_cycle_a": 7.2143146022,
        "g_cycle_b": 6.6425974502,
        "g_identity_b": 3.3365969755,
        "g_identity_a": 3.5538217777,
    }
    assert {name: before[name] for name in expected} == pytest.approx(expected, abs=1e-8)
    assert sum(before[name] for name in expected) == pytest.approx(22.9890828434, abs=1e-8)
    assert before["d_b_real"] + before["d_b_fake"] == pytest.approx(0.6662466944, abs=1e-8)
    assert before["d_a_real"] + before["d_a_fake"] == pytest.approx(0.7379199252, abs=1e-8)
    run_step(method, Batch(*inputs(128)), optimizers)
    second = run_step(method, Batch(*inputs(128)), optimizers)
    assert sum(second[name] for name in expected) == pytest.approx(21.9924625781, abs=1e-8)
