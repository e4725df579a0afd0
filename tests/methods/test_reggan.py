"""RegGAN, and CycleGAN with registration: their losses, networks and files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support import log_lines, newest_checkpoint, noise_pairs, raises_user_error, values
from torch import Tensor, nn

from viceversa import train
from viceversa.batch import Batch
from viceversa.checkpoint import load_state
from viceversa.checkpoint.container import load
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.losses import GAN_LOSSES, l1
from viceversa.methods.cyclegan import CycleGAN
from viceversa.methods.reggan import CycleGANReg, RegGAN, registration_losses
from viceversa.networks.patchgan import PatchGAN
from viceversa.networks.resnet import ResNet

NETWORKS: tuple[Any, Any] = (
    lambda i, o: ResNet(ResNet.Config(width=2, blocks=1), i, o),
    lambda i: PatchGAN(PatchGAN.Config(width=2, layers=1, norm="instance", whole_image=True), i),
)
SMALL: dict[str, Any] = {"registration_width": 2}


class ConstantFlow(nn.Module):
    """Registration network that returns the same flow everywhere."""

    def __init__(self, rows: float, columns: float):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([rows, columns]))

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        return self.shift.view(1, 2, 1, 1).expand(len(image), 2, *image.shape[2:])


def reggan(**options: Any) -> RegGAN:
    torch.manual_seed(0)
    return RegGAN(RegGAN.Config(**SMALL, **options), (3, 1), *NETWORKS)


def images(side: int = 16, weight: Tensor | None = None) -> Batch:
    torch.manual_seed(1)
    a, b = torch.rand(2, 3, side, side) * 2 - 1, torch.rand(2, 1, side, side) * 2 - 1
    return Batch(a, b, weight, weight)


def all_losses(method: Any, batch: Batch) -> dict[str, float]:
    """Return the losses of a step without optimizer steps, and the values that are logged."""
    with torch.no_grad():
        return {k: float(v) for _, losses in method.step(batch) for k, v in losses.items()}


def test_losses_by_hand() -> None:
    method, batch = reggan(), images()
    method.registration = ConstantFlow(3.0, -4.0)
    found = all_losses(method, batch)
    with torch.no_grad():
        fake = method.g_ab(batch.a)
        rows = torch.arange(16).add(3).clamp(max=15)
        columns = torch.arange(16).sub(4).clamp(min=0)
        scores = {"fake": method.d_b(fake), "real": method.d_b(batch.b)}
    assert scores["fake"][0].shape == (2, 1, 1, 1)
    gan = GAN_LOSSES["lsgan"]
    assert found == pytest.approx(
        {
            "g_correction": 20 * float(l1(fake[:, :, rows][:, :, :, columns], batch.b)),
            "g_smoothness": 0.0,
            "g_shift": 5 * 25.0,
            "g_gan": float(gan.fool(scores["fake"])),
            "flow_mean": 5.0,
            "flow_max": 5.0,
            "d_real": float(gan.real(scores["real"])),
            "d_fake": float(gan.fake(scores["fake"])),
        },
        rel=1e-5,
    )


def test_the_generator_and_the_registration_network_step_first() -> None:
    """The discriminator's fake is translated with the generator's new weights."""
    method, batch = reggan(), images()
    turns = method.step(batch)
    assert next(turns)[0] == "generator"
    assert next(turns)[0] is None
    with torch.no_grad():
        for weight in method.g_ab.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        before_and_after = method.d_b(method.g_ab(batch.a))[0].square().mean()
    player, losses = next(turns)
    assert player == "discriminator" and next(turns, None) is None
    assert float(losses["d_fake"].detach()) == float(before_and_after)
    gradients = torch.autograd.grad(
        losses["d_fake"], list(method.g_ab.parameters()), allow_unused=True
    )
    assert set(gradients) == {None}


@pytest.mark.parametrize("option", ["lambda_shift", "lambda_smoothness"])
def test_a_weight_of_0_leaves_the_term_out(option: str) -> None:
    """Losses and gradients equal, to the bit, those of the other terms alone."""
    name = option.replace("lambda", "g")

    def gradients(without: str | None, **options: float) -> list[Tensor]:
        method = reggan(**options)
        method.registration.flow.weight.data.mul_(1e5)
        _, losses = next(method.step(images()))
        kept = [loss for key, loss in losses.items() if key != without]
        return list(torch.autograd.grad(torch.stack(kept).sum(), _weights(method)))

    left_out, zero, full = gradients(name), gradients(None, **{option: 0.0}), gradients(None)
    assert all(map(torch.equal, left_out, zero))
    assert not all(map(torch.equal, full, zero))


def _weights(method: nn.Module) -> list[nn.Parameter]:
    return [*method.g_ab.parameters(), *method.registration.parameters()]  # type: ignore[union-attr,operator]


def test_without_the_correction_there_is_no_registration() -> None:
    found = all_losses(reggan(lambda_correction=0), images())
    assert found.keys() == {"g_gan", "d_real", "d_fake"}
    full = all_losses(reggan(), images())
    assert found == {name: full[name] for name in found}


def test_without_the_adversarial_loss_there_is_no_discriminator() -> None:
    method = reggan(lambda_gan=0)
    found = all_losses(method, images())
    assert found.keys() == {"g_correction", "g_smoothness", "g_shift", "flow_mean", "flow_max"}
    assert method.objective is None and reggan().objective == GAN_LOSSES["lsgan"]


def cyclegan(cls: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    return cls(cls.Config(lambda_identity=0, pool_size=2, **options), (3, 1), *NETWORKS)


def test_cyclegan_without_the_correction_is_cyclegan() -> None:
    plain, zero, full = (
        all_losses(cyclegan(CycleGAN), images()),
        all_losses(cyclegan(CycleGANReg, **SMALL, lambda_correction=0), images()),
        all_losses(cyclegan(CycleGANReg, **SMALL), images()),
    )
    assert zero == plain
    assert {name: full[name] for name in plain} == plain
    assert full.keys() - plain.keys() == {
        *("g_correction", "g_smoothness", "g_shift"),
        *("flow_mean", "flow_max"),
    }


def test_cyclegan_registers_the_translations_of_a() -> None:
    method, batch = cyclegan(CycleGANReg, **SMALL), images()
    with torch.no_grad():
        expected, _ = registration_losses(
            method.config, method.registration, method.g_ab(batch.a), batch
        )
    found = all_losses(method, batch)
    assert {name: found[name] for name in expected} == {
        name: float(value) for name, value in expected.items()
    }
    assert method.registration in method.players()["generator"]


@pytest.mark.parametrize("make", [reggan, lambda: cyclegan(CycleGANReg, **SMALL)])
def test_pixels_without_data_have_no_influence(make: Any) -> None:
    weight = torch.ones(2, 1, 16, 16)
    weight[:, :, 4:9, 5:] = 0
    results = []
    for hidden in (-1.0, 0.5):
        batch = images(weight=weight)
        b = torch.where(weight > 0, batch.b, -1.0)
        method = make()
        # The generator's output differs where there is no data.
        method.g_ab.register_forward_hook(
            lambda _, __, out, hidden=hidden: torch.where(weight > 0, out, hidden)
        )
        results.append(all_losses(method, batch._replace(b=b)))
    assert results[0] == results[1]
    assert all(map(math.isfinite, results[0].values()))


def test_a_value_that_comes_from_a_pixel_without_data_does_not_count() -> None:
    """Column 2 has no data: with a flow of one column, column 1 of the output comes from there."""
    weight = torch.ones(1, 1, 4, 4)
    weight[..., 2] = 0
    fake = torch.tensor([1.0, 2.0, -1.0, 4.0]).expand(1, 1, 4, 4)
    batch = Batch(fake, torch.zeros(1, 1, 4, 4), weight, weight)
    losses, _ = registration_losses(RegGAN.Config(), ConstantFlow(0.0, 1.0), fake, batch)
    # Columns 0 and 3 remain: 2, and the border's 4.
    assert float(losses["g_correction"].detach()) == 20 * (2 + 4) / 2


def test_the_discriminator_or_the_correction_is_needed() -> None:
    config = settings("reggan", Path("unused"), Path("unused"), lambda_gan=0, lambda_correction=0)
    with raises_user_error() as error:
        make_method(config)
    assert "lambda_correction" in str(error.value)


def settings(name: str, data: Path, run: Path, **method: Any) -> RunConfig:
    return resolve(
        {
            "method": {"name": name, "registration_width": 2, **method},
            "generator": {"name": "resnet", "width": 2, "blocks": 1},
            "discriminator": {"name": "patchgan", "width": 2, "layers": 1, "norm": "instance"},
            "data": {"path": str(data), "load_size": 16, "crop_size": 16, "workers": 0},
            "train": {
                "run": str(run),
                "epochs": 1,
                "device": "cpu",
                "precision": "fp32",
                "samples": 1,
                "log_every": 1,
            },
            "validate": {"every": 0},
        }
    )


@pytest.mark.parametrize("name", ["reggan", "cyclegan-reg"])
def test_the_registration_network_is_in_checkpoints_only(name: str, tmp_path: Path) -> None:
    data = noise_pairs(tmp_path / "data" / "train", 2, 16).parent
    run = train(settings(name, data, tmp_path / "run"))
    for line in log_lines(run, "train"):
        lengths = values(line, "loss")
        assert 0 < lengths["flow_mean"] <= lengths["flow_max"] < 1
    state = load_state(newest_checkpoint(run))["method"]
    trained = {key for key in state if key.startswith("registration.")}
    assert len(trained) == len(
        list(make_method(settings(name, data, run)).registration.parameters())
    )  # type: ignore[union-attr,arg-type,operator]
    generators = ["ab"] if name == "reggan" else ["ab", "ba"]
    assert {path.stem for path in run.glob("[ab][ab].safetensors")} == set(generators)
    for direction in generators:
        tensors, _ = load(run / f"{direction}.safetensors")
        prefix = f"g_{direction}."
        assert {prefix + key for key in tensors} == {key for key in state if key.startswith(prefix)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shift", "lambda_shift", "least", "most"),
    [(0, 0.0, -0.3, 0.3), (2, 0.0, -2.3, -1.7), (2, 5.0, -1.0, 0.0)],
)
def test_the_flow_becomes_the_misalignment(
    shift: int, lambda_shift: float, least: float, most: float
) -> None:
    """Targets are shifted down by whole pixels; `lambda_shift` keeps the flow from becoming that.

    The generator is fixed.
    """
    torch.manual_seed(0)
    config = RegGAN.Config(lambda_shift=lambda_shift, registration_width=4)
    network = RegGAN(config, (1, 1), *NETWORKS).registration
    optimizer = torch.optim.Adam(network.parameters(), 4e-3)
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(32.0), indexing="ij")
    for _ in range(100):
        phase = 6.28 * torch.rand(4, 2, 1, 1, 1)
        image = torch.sin(0.5 * x + phase[0]) * torch.sin(0.4 * y + phase[1])
        fake, b = image[:, :, 4:36], image[:, :, 4 - shift : 36 - shift]
        losses, _ = registration_losses(config, network, fake, Batch(fake, b))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    with torch.no_grad():
        flow = network(fake, b)
    rows, columns = flow[:, :, 4:-4, 4:-4].mean(dim=(0, 2, 3)).tolist()
    assert least < rows < most and abs(columns) < 0.3
