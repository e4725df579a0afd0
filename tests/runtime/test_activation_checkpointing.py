"""Activation checkpointing changes no result and saves fewer activations for the backward pass."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from tiny_runs import (
    METHODS,
    OFF,
    TinyRun,
    max_difference,
    max_loss_difference,
    only,
    tiny_run,
    train_steps,
    training_state,
)
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from viceversa.networks.patchgan import PatchGAN
from viceversa.networks.resnet import ResNet
from viceversa.networks.unet import UNet
from viceversa.runtime import activation_checkpointing
from viceversa.runtime.activation_checkpointing import blocks, checkpoint_blocks

BLOCKS = only(activation_checkpointing="blocks")
BATCH_NORM = {"generator": {"norm": "batch"}, "discriminator": {"norm": "batch"}}
GENERATORS: dict[str, dict[str, Any]] = {
    "unet": {"depth": 3, "dropout_from": 1, "dropout_layers": 2},
    "gdl-unet": {"depth": 2},
    "resnet": {"blocks": 2},
}


def settings_with_dropout(generator: str, norm: str) -> dict[str, Any]:
    """Return settings of a small generator with dropout."""
    options = {"name": generator, "width": 4, "norm": norm, "dropout": 0.5, **GENERATORS[generator]}
    return {"generator": options, "discriminator": {"norm": norm}}


def train_equally(one: TinyRun, two: TinyRun, count: int = 3) -> bool:
    """Train both; return whether their losses and states are equal to the bit."""
    losses = max_loss_difference(train_steps(one, count), train_steps(two, count))
    return losses == 0.0 and max_difference(training_state(one), training_state(two)) == 0.0


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("generator", GENERATORS)
def test_steps_are_identical(name: str, norm: str, generator: str) -> None:
    """Compares losses, weights, statistics, image pools and optimizer states, with dropout."""
    more = settings_with_dropout(generator, norm)
    assert train_equally(tiny_run(name, OFF, **more), tiny_run(name, BLOCKS, **more))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_recomputation_uses_the_precision_of_the_first_pass(precision: str) -> None:
    one, two = (tiny_run("pix2pix", speed, precision, **BATCH_NORM) for speed in (OFF, BLOCKS))
    assert train_equally(one, two)


@pytest.mark.parametrize("method", [{"gan_loss": "wgan-gp"}, {"lambda_r1": 1.0}], ids=["gp", "r1"])
@pytest.mark.parametrize("scales", [1, 2])
def test_works_with_a_gradient_penalty(method: dict[str, Any], scales: int) -> None:
    """Each of several scales is a block, which the penalty's gradient recomputes twice."""
    more = {"method": method, "discriminator": {"scales": scales, "spectral_norm": scales == 2}}
    one, two = (tiny_run("cyclegan", speed, **more) for speed in (OFF, BLOCKS))
    assert train_equally(one, two)


def test_control_detects_running_statistics_updated_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `statistics_kept`, the recomputation updates the running statistics again."""
    monkeypatch.setattr(activation_checkpointing, "statistics_kept", lambda block: nullcontext())
    one, two = (tiny_run("pix2pix", speed, **BATCH_NORM) for speed in (OFF, BLOCKS))
    assert (
        max_loss_difference(train_steps(one, 2), train_steps(two, 2)) == 0.0
    )  # training mode does not use them
    state, other = training_state(one), training_state(two)
    differ = {key for key in state if not torch.equal(state[key], other[key])}
    assert differ and all("running_" in key for key in differ)


def test_control_detects_different_dropout_in_the_recomputation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The random state is not restored for the recomputation."""
    naive = partial(checkpoint, preserve_rng_state=False)
    monkeypatch.setattr(activation_checkpointing, "checkpoint", naive)
    assert not train_equally(*(tiny_run("pix2pix", speed, **BATCH_NORM) for speed in (OFF, BLOCKS)))


# -- effect


def saved_bytes(network: nn.Module, x: Tensor) -> int:
    """Return how many bytes, except weights, a forward pass saves for the backward pass."""
    weights = {weight.data_ptr() for weight in network.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            sizes[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(x)
        total = sum(sizes.values())
    output.square().mean().backward()
    return total


def test_fewer_bytes_are_saved_for_the_backward_pass() -> None:
    x = torch.randn(1, 3, 32, 32)
    torch.manual_seed(0)
    plain = ResNet(ResNet.Config(width=4, blocks=6), 3, 3)
    checkpointed = copy.deepcopy(plain)
    checkpoint_blocks(checkpointed)
    assert 0 < saved_bytes(checkpointed, x) < 0.7 * saved_bytes(plain, x)
    for one, other in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_blocks_run_twice_with_gradients_and_once_without() -> None:
    torch.manual_seed(0)
    network = ResNet(ResNet.Config(width=4, blocks=2), 3, 3)
    checkpoint_blocks(network)
    runs: list[nn.Module] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_pre_hook(lambda layer, _: runs.append(layer))
    inside = [m for block in blocks(network) for m in block.modules() if isinstance(m, nn.Conv2d)]
    network(torch.randn(1, 3, 16, 16)).square().mean().backward()
    assert {runs.count(layer) for layer in inside} == {2}
    assert {runs.count(layer) for layer in runs if layer not in inside} == {1}
    runs.clear()
    with torch.no_grad():
        network(torch.randn(1, 3, 16, 16))
    assert {runs.count(layer) for layer in runs} == {1}


def test_blocks_are_the_modules_with_several_layers() -> None:
    def names(network: nn.Module) -> list[str]:
        found = {id(block) for block in blocks(network)}
        return [name for name, part in network.named_modules() if id(part) in found]

    unet = UNet(UNet.Config(width=2, depth=3), 3, 3)
    assert names(unet) == ["downs.1", "downs.2", "ups.0", "ups.1", "ups.2"]
    resnet = ResNet(ResNet.Config(width=2, blocks=3), 3, 3)
    assert names(resnet) == ["layers.10", "layers.11", "layers.12"]
    assert names(PatchGAN(PatchGAN.Config(width=2), 3)) == []


def test_state_dict_names_stay_and_copies_are_independent() -> None:
    torch.manual_seed(0)
    network = UNet(UNet.Config(width=4, depth=3, norm="instance", dropout=0.0), 3, 3)
    names, x = list(network.state_dict()), torch.randn(1, 3, 16, 16)
    expected = network(x)
    checkpoint_blocks(network)
    assert list(network.state_dict()) == names and torch.equal(network(x), expected)
    copied = copy.deepcopy(network)
    for weight in copied.parameters():
        nn.init.zeros_(weight)
    assert float(copied(x).detach().abs().max()) == 0 and torch.equal(network(x), expected)
    copied(x).square().mean().backward()
    assert all(weight.grad is None for weight in network.parameters())
