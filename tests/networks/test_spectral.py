"""Test spectral norm: singular values, state, copies, and the speed options that change layers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viceversa.checkpoint.models import load_network, save_network
from viceversa.networks import DISCRIMINATORS
from viceversa.networks.resnet import ResNet
from viceversa.networks.spectral import singular_vectors
from viceversa.runtime.activation_checkpointing import blocks, checkpoint_blocks
from viceversa.runtime.conv_matmul import convolve_by_matmul
from viceversa.training.ema import EMA


def patchgan(**more: Any) -> Any:
    torch.manual_seed(0)
    network_class, config = DISCRIMINATORS["patchgan"]
    return network_class(
        config(width=4, layers=2, norm="instance", **{"spectral_norm": True, **more}), 3
    )


def resnet() -> ResNet:
    torch.manual_seed(0)
    return ResNet(ResNet.Config(width=4, blocks=2, spectral_norm=True), 3, 3)


def singular_values(network: nn.Module) -> list[float]:
    """Return the largest singular value of each convolution, in eval mode."""
    network.eval()
    values = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            weight = layer.weight.detach()
            if isinstance(layer, nn.ConvTranspose2d):
                weight = weight.transpose(0, 1)
            values.append(float(torch.linalg.matrix_norm(weight.flatten(1), 2)))
    return values


def train(network: nn.Module, steps: int) -> None:
    """Train on noise, with a learning rate that changes the weights visibly."""
    optimizer = torch.optim.Adam(network.train().parameters(), lr=2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        output = network(torch.randn(1, 3, 32, 32))
        output = output if isinstance(output, Tensor) else torch.stack([x.mean() for x in output])
        (output - 1).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("make", [patchgan, lambda: patchgan(scales=2), resnet])
def test_largest_singular_value_is_near_1_after_training(make: Any) -> None:
    network = make()
    train(network, 20)
    assert singular_values(network) == pytest.approx(
        [1.0] * len(singular_values(network)), abs=0.05
    )


def test_control_without_spectral_norm() -> None:
    network = patchgan(spectral_norm=False)
    train(network, 20)
    assert all(abs(value - 1) > 0.05 for value in singular_values(network))


def test_power_iterations_happen_in_training_only() -> None:
    network, image = patchgan(), torch.randn(1, 3, 32, 32)
    train(network, 1)

    def changed(mode: bool) -> bool:
        network.train(mode)
        before = [vector.clone() for vector in singular_vectors(network)]
        network(image)
        return not all(map(torch.equal, before, singular_vectors(network)))

    assert len(singular_vectors(network)) == 2 * 4
    assert changed(True) and not changed(False)


def test_a_model_file_keeps_the_outputs(tmp_path: Any) -> None:
    network, image = patchgan(), torch.randn(1, 3, 32, 32)
    train(network, 2)
    save_network(tmp_path / "d.safetensors", network.state_dict(), {"kind": "discriminator"})
    loaded = load_network(tmp_path / "d.safetensors", patchgan)
    assert torch.equal(loaded.eval()(image)[0], network.eval()(image)[0])


def test_a_copy_has_its_own_weights_and_vectors() -> None:
    network, image = patchgan(), torch.randn(1, 3, 32, 32)
    copied = copy.deepcopy(network).eval()
    before = copied(image)[0]
    train(network, 2)
    assert torch.equal(copied(image)[0], before)
    assert not torch.equal(network.eval()(image)[0], before)


@pytest.mark.parametrize("make", [lambda: patchgan(scales=2), resnet])
def test_checkpointing_uses_the_weights_of_the_first_pass(make: Any) -> None:
    """Two forward passes before the backward pass, as for real and fake images."""

    def gradients(checkpointed: bool) -> list[Tensor]:
        network = make()
        train(network, 1)
        if checkpointed:
            assert list(blocks(network))
            checkpoint_blocks(network)
        torch.manual_seed(1)
        outputs = [network(torch.randn(1, 3, 32, 32)) for _ in range(2)]
        flat = [x for one in outputs for x in ([one] if isinstance(one, Tensor) else one)]
        torch.stack([x.square().mean() for x in flat]).sum().backward()
        grads = [p.grad for p in network.parameters() if p.grad is not None]
        return [*grads, *singular_vectors(network)]

    assert all(map(torch.equal, gradients(False), gradients(True)))


def test_single_convolutions_are_no_blocks() -> None:
    assert list(blocks(patchgan())) == []


def test_matmul_takes_no_additional_power_iteration() -> None:
    def vectors(replaced: bool) -> list[Tensor]:
        network = patchgan()
        train(network, 1)
        if replaced:
            convolve_by_matmul(network)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            network(torch.randn(1, 3, 32, 32))
        return singular_vectors(network)

    assert all(map(torch.equal, vectors(False), vectors(True)))


def test_ema_weights_have_the_norm_too() -> None:
    network = resnet()
    ema = EMA({"ab": network}, 0.5)
    for _ in range(10):
        train(network, 1)
        ema.update()
    averaged = ema.networks()["ab"]
    assert singular_values(averaged) == pytest.approx([1.0] * 10, abs=0.05)
    assert not all(map(torch.equal, averaged.parameters(), network.parameters()))
