"""Blocks computed anew in the backward pass: the same to the bit, and less is kept for it."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from tiny import METHODS, OFF, Made, apart, farthest, left, made, only, steps
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from viceversa.networks.patchgan import PatchGAN
from viceversa.networks.resnet import ResNet
from viceversa.networks.unet import UNet
from viceversa.runtime import activation_checkpointing
from viceversa.runtime.activation_checkpointing import blocks, checkpoint_blocks

ANEW = only(activation_checkpointing="blocks")
BATCH_NORM = {"generator": {"norm": "batch"}, "discriminator": {"norm": "batch"}}
GENERATORS: dict[str, dict[str, Any]] = {
    "unet": {"depth": 3, "dropout_from": 1, "dropout_layers": 2},
    "gdl-unet": {"depth": 2}, "resnet": {"blocks": 2},
}  # fmt: skip


def of(generator: str, norm: str) -> dict[str, Any]:
    """Settings with dropout, whichever the generator."""
    own = {"name": generator, "width": 4, "norm": norm, "dropout": 0.5, **GENERATORS[generator]}
    return {"generator": own, "discriminator": {"norm": norm}}


def equal(one: Made, two: Made, count: int = 3) -> bool:
    """Whether steps of both leave the same, to the bit."""
    losses = apart(steps(one, count), steps(two, count))
    return losses == 0.0 and farthest(left(one), left(two)) == 0.0


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("generator", GENERATORS)
def test_steps_are_the_same_to_the_bit(name: str, norm: str, generator: str) -> None:
    """Losses, weights, statistics, pools and averages; dropout is on."""
    more = of(generator, norm)
    assert equal(made(name, OFF, **more), made(name, ANEW, **more))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_second_pass_is_in_the_precision_of_the_first(precision: str) -> None:
    one, two = (made("pix2pix", speed, precision, **BATCH_NORM) for speed in (OFF, ANEW))
    assert equal(one, two)


def test_a_gradient_penalty_goes_with_it() -> None:
    one, two = (made("cyclegan", speed, method={"gan_loss": "wgan-gp"}) for speed in (OFF, ANEW))
    assert equal(one, two)


def test_statistics_gathered_twice_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a second pass that gathers statistics as the first did."""
    monkeypatch.setattr(activation_checkpointing, "statistics_kept", lambda block: nullcontext())
    one, two = (made("pix2pix", speed, **BATCH_NORM) for speed in (OFF, ANEW))
    assert apart(steps(one, 2), steps(two, 2)) == 0.0  # training itself does not feel them
    state, other = left(one), left(two)
    differ = {key for key in state if not torch.equal(state[key], other[key])}
    assert differ and all("running_" in key for key in differ)


def test_other_dropout_in_the_second_pass_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: random numbers that are not put back."""
    naive = partial(checkpoint, preserve_rng_state=False)
    monkeypatch.setattr(activation_checkpointing, "checkpoint", naive)
    assert not equal(*(made("pix2pix", speed, **BATCH_NORM) for speed in (OFF, ANEW)))


# -- what it does


def kept(network: nn.Module, x: Tensor) -> int:
    """Bytes that a forward pass keeps for the backward one, weights aside."""
    own = {weight.data_ptr() for weight in network.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            seen[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        made = network(x)
        total = sum(seen.values())
    made.square().mean().backward()
    return total


def test_less_is_kept_for_the_backward_pass() -> None:
    x = torch.randn(1, 3, 32, 32)
    torch.manual_seed(0)
    plain = ResNet(ResNet.Config(width=4, blocks=6), 3, 3)
    anew = copy.deepcopy(plain)
    checkpoint_blocks(anew)
    assert 0 < kept(anew, x) < 0.7 * kept(plain, x)
    for one, other in zip(plain.parameters(), anew.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_each_block_runs_twice_where_gradients_are_asked_for() -> None:
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


def test_blocks_are_what_consists_of_several_layers() -> None:
    def names(network: nn.Module) -> list[str]:
        found = {id(block) for block in blocks(network)}
        return [name for name, part in network.named_modules() if id(part) in found]

    unet = UNet(UNet.Config(width=2, depth=3), 3, 3)
    assert names(unet) == ["downs.1", "downs.2", "ups.0", "ups.1", "ups.2"]
    resnet = ResNet(ResNet.Config(width=2, blocks=3), 3, 3)
    assert names(resnet) == ["layers.10", "layers.11", "layers.12"]
    assert names(PatchGAN(PatchGAN.Config(width=2), 3)) == []


def test_names_stay_and_a_copy_has_weights_of_its_own() -> None:
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
