"""Two calls of a network in one: where it gives the same, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viceversa.networks import (
    DISCRIMINATORS,
    GENERATORS,
    separately,
    together,
    use_policy,
)
from viceversa.networks.norms import make_norm

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"width": 4, "depth": 3, "dropout": 0.0}, "gdl-unet": {"width": 4, "depth": 2},
    "resnet": {"width": 4, "blocks": 1}, "patchgan": {"width": 4, "layers": 2},
    "pixelgan": {"width": 4},
}  # fmt: skip
PER_IMAGE = ("layer", "instance", "instance-affine", "instance-std", "group", "none")


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def network(name: str, norm: str, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    config = {**SMALL[name], "norm": norm, "groups": 2, **more}
    if name in GENERATORS:
        kind, settings = GENERATORS[name]
        made: nn.Module = kind(settings(**config), 3, 2)
    else:
        kind, settings = DISCRIMINATORS[name]
        made = kind(settings(**config), 3)
    for layer in made.modules():  # weights as after some training, and a norm that does something
        for weight in layer.parameters(recurse=False):
            nn.init.normal_(weight, std=0.3)
    return made.train()


def images(*counts: int, side: int = 16) -> list[Tensor]:
    chance = torch.Generator().manual_seed(1)
    return [torch.randn(n, 3, side, side, generator=chance).requires_grad_() for n in counts]


def called(one: nn.Module) -> list[int]:
    """Filled with the number of images of each call."""
    calls: list[int] = []
    one.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    return calls


def passed(one: nn.Module, apart: bool, *counts: int) -> tuple[list[Tensor], list[Tensor]]:
    """What becomes of batches of so many images, and all gradients of a sum that weighs them."""
    shown = images(*counts)
    torch.manual_seed(2)
    with separately() if apart else nullcontext():
        made = together(one, *shown)
    total = sum((part * (2 + index)).square().sum() for index, part in enumerate(made))
    assert isinstance(total, Tensor)
    weights = [*one.parameters(), *shown]
    return list(made), list(torch.autograd.grad(total, weights))


def farthest(one: list[Tensor], two: list[Tensor]) -> float:
    """The largest difference, as a share of the largest value of its tensor."""
    assert len(one) == len(two)
    pairs = zip(one, two, strict=True)
    return max(
        float((a - b).detach().abs().max() / b.detach().abs().max().clamp_min(1)) for a, b in pairs
    )


@pytest.mark.parametrize("norm", PER_IMAGE)
@pytest.mark.parametrize("name", [*GENERATORS, *DISCRIMINATORS])
@pytest.mark.parametrize("counts", [(1, 1), (2, 3, 1)])
def test_one_call_gives_what_several_do(name: str, norm: str, counts: tuple[int, ...]) -> None:
    one = network(name, norm)
    calls = called(one)
    made, gradients = passed(one, False, *counts)
    assert calls == [sum(counts)]
    expected, expected_gradients = passed(one, True, *counts)
    assert calls[1:] == list(counts)
    assert [len(part) for part in made] == list(counts)
    assert farthest(made, expected) < 1e-12
    assert farthest(gradients, expected_gradients) < 1e-12


@pytest.mark.parametrize("name", [*GENERATORS, *DISCRIMINATORS])
def test_batch_norm_in_training_keeps_calls_apart(name: str) -> None:
    one = network(name, "batch")
    calls = called(one)
    made, _ = passed(one, False, 2, 2)
    assert calls == [2, 2]
    expected, _ = passed(one, True, 2, 2)
    assert farthest(made, expected) == 0
    # The control: in one call images would feel each other.
    naive = torch.split(one(torch.cat(images(2, 2))), 2)
    assert farthest(list(naive), expected) > 1e-2


@pytest.mark.parametrize(
    ("name", "more"), [("unet", {}), ("gdl-unet", {"depth": 3}), ("resnet", {"blocks": 2})]
)
def test_dropout_in_training_keeps_calls_apart(name: str, more: dict[str, Any]) -> None:
    one = network(name, "instance", dropout=0.5, **more)
    calls = called(one)
    made, _ = passed(one, False, 2, 2)
    assert calls == [2, 2]
    expected, _ = passed(one, True, 2, 2)
    assert farthest(made, expected) == 0
    torch.manual_seed(2)  # the control: one call draws other numbers for the second batch
    naive = torch.split(one(torch.cat(images(2, 2))), 2)
    assert farthest(list(naive), expected) > 1e-2


@pytest.mark.parametrize("statistics", ["image", "running"])
@pytest.mark.parametrize("name", ["unet", "patchgan"])
def test_in_use_batch_norm_and_dropout_are_joined(name: str, statistics: Any) -> None:
    one = network(name, "batch", **({"dropout": 0.5} if name == "unet" else {}))
    one(images(4)[0])
    use_policy(one, statistics)
    calls = called(one)
    made, gradients = passed(one, False, 2, 1)
    assert calls == [3]
    expected, expected_gradients = passed(one, True, 2, 1)
    assert farthest(made, expected) < 1e-12
    assert farthest(gradients, expected_gradients) < 1e-12
    if name == "unet":
        use_policy(one, statistics, dropout=True)  # the paper's policy draws random numbers
        calls.clear()
        together(one, *images(2, 1))
        assert calls == [2, 1]


@pytest.mark.parametrize(
    ("layer", "training", "joined"),
    [
        (lambda: nn.BatchNorm2d(3), True, False),
        (lambda: nn.BatchNorm2d(3), False, True),
        (lambda: nn.BatchNorm2d(3, track_running_stats=False), False, False),
        (lambda: nn.Dropout2d(0.5), True, False),
        (lambda: nn.Dropout2d(0.0), True, True),
        (lambda: nn.Dropout(0.5), False, True),
        (lambda: make_norm("batch", 3), True, False),
    ],
)
def test_layers_that_mix_are_known(
    layer: Callable[[], nn.Module], training: bool, joined: bool
) -> None:
    """torch's own too, in a network of one's own."""
    one = nn.Sequential(layer(), nn.ReLU()).train(training)
    calls = called(one)
    together(one, *images(2, 1))
    assert calls == ([3] if joined else [2, 1])


def test_images_of_other_sizes_are_called_apart() -> None:
    one = network("patchgan", "instance")
    calls = called(one)
    small, large = images(2)[0], images(1, side=24)[0]
    made = together(one, small, large)
    assert calls == [2, 1]
    assert torch.equal(made[0], one(small)) and torch.equal(made[1], one(large))


def test_separately_holds_within_and_no_longer() -> None:
    one = network("patchgan", "instance")
    calls = called(one)

    def sizes() -> list[int]:
        calls.clear()
        together(one, *images(2, 1))
        return list(calls)

    assert sizes() == [3]
    with separately():
        assert sizes() == [2, 1]
        with separately(False):
            assert sizes() == [3]
        assert sizes() == [2, 1]
    assert sizes() == [3]
    with pytest.raises(KeyError), separately():
        raise KeyError
    assert sizes() == [3]


def test_fakes_in_half_precision_join_the_real_images() -> None:
    """What a judge sees under autocast: real images in float32, fakes as the generator left them.

    Half precision rounds to 8 bits; that fakes are widened before loses nothing.
    """
    one = network("patchgan", "instance").float()
    real, fake = (x.detach().float() for x in images(2, 2))
    half = fake.bfloat16()
    calls = called(one)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = together(one, real, half)
        assert calls == [4]
        with separately():
            expected = together(one, real, half)
    assert calls == [4, 2, 2]
    for part, other in zip(made, expected, strict=True):
        assert part.dtype == other.dtype == torch.bfloat16
        assert farthest([part.float()], [other.float()]) < 2**-7
    made = together(one, real, half)  # without autocast: in float32, from the same numbers
    expected = (one(real), one(half.float()))
    for part, other in zip(made, expected, strict=True):
        assert part.dtype == torch.float32
        torch.testing.assert_close(part, other, rtol=1e-4, atol=1e-4)
