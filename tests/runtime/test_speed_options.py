"""With every option of speed off, steps are those of a plain loop; each one alone changes them by
rounding at most."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
import torch
from support import identical
from tiny import METHODS, OFF, Losses, Made, apart, batch, farthest, left, made, only, steps
from torch import nn

from viceversa.cli import main
from viceversa.config.command_line import train_settings
from viceversa.config.recipes import SECTIONS
from viceversa.config.run import resolve
from viceversa.config.speed import SpeedConfig
from viceversa.errors import UserError
from viceversa.methods.base import Batch
from viceversa.runtime.training import Runtime
from viceversa.training.step import MicroBatch, update


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


# -- all of them off


def plain_loop(one: Made, count: int) -> Losses:
    """Training as anyone would write it down, of torch's own parts alone."""
    train = one.config.train
    adams = {
        player: torch.optim.Adam(
            chain.from_iterable(network.parameters() for network in networks),
            lr=train.lr, betas=train.betas, fused=False, foreach=False,
        )
        for player, networks in one.method.players().items()
    }  # fmt: skip
    seen: Losses = []
    torch.manual_seed(1)
    for step in range(count):
        seen.append({})
        for player, losses in one.method.step(Batch(*batch(step))):
            assert player is not None
            adams[player].zero_grad()
            sum(losses.values()).backward()  # type: ignore[union-attr]
            adams[player].step()
            seen[-1] |= {name: loss.detach() for name, loss in losses.items()}
    return seen


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("gan_loss", ["lsgan", "wgan-gp"])
def test_with_all_off_steps_are_those_of_a_plain_loop(name: str, gan_loss: str) -> None:
    """To the bit, in float32, with dropout on and pools that are full."""
    method = {"gan_loss": gan_loss}
    ours, plain = made(name, method=method), made(name, method=method)
    before = left(ours)
    found, expected = steps(ours, 4), plain_loop(plain, 4)
    assert identical(found, expected)
    state, other = ours.method.state_dict(), plain.method.state_dict()
    assert identical(state, other) and not identical(state, {key: before[key] for key in state})
    if name == "cyclegan":
        assert int(other["past_a.filled"]) == 2


def test_other_random_numbers_are_noticed() -> None:
    """The control: dropout and pools take part in what is compared."""
    ours, plain = made("cyclegan"), made("cyclegan")
    found = steps(ours, 4)
    torch.manual_seed(2)
    late = [
        update(plain.method, [MicroBatch(batch(step))], plain.optimizers, plain.runtime)
        for step in range(4)
    ]
    assert apart(found, late) > 1e-3


# -- each one alone

BATCHED = {
    "generator": {"norm": "instance", "dropout": 0.0}, "discriminator": {"norm": "instance"},
}  # fmt: skip


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("speed", "more"),
    [
        (only(fused=True), {}),
        (only(flush_denormals=True), {}),
        (only(conv_as_matmul=True), {}),
        (only(memory_format="channels_last"), BATCHED),  # which dropout hits depends on the order
        (SpeedConfig(memory_format="channels_last", activation_checkpointing="blocks"), BATCHED),
    ],
    ids=["fused", "flush_denormals", "conv_as_matmul", "channels_last", "all"],
)
def test_an_option_changes_steps_by_rounding_at_most(
    name: str, speed: SpeedConfig, more: dict[str, Any]
) -> None:
    without, with_it = made(name, **more), made(name, speed, **more)
    assert apart(steps(without), steps(with_it)) < 1e-9
    assert farthest(left(without), left(with_it)) < 1e-9


@pytest.mark.usefixtures("in_float64")
def test_a_bound_that_rounding_keeps_is_broken_by_a_step_that_differs() -> None:
    """The control: Adam with other decay rates, which is a small change."""
    without, other = made("pix2pix"), made("pix2pix", train={"betas": [0.5, 0.998]})
    steps(without), steps(other)
    assert farthest(left(without), left(other)) > 1e-6


def test_options_reach_what_they_are_about() -> None:
    """Which Adam, which strides, which convolutions."""

    def traits(speed: SpeedConfig) -> tuple[bool, bool, bool, bool]:
        one = made("pix2pix", speed)
        group = one.optimizers["generator"].param_groups[0]
        layer = next(m for m in one.method.modules() if isinstance(m, nn.ConvTranspose2d))
        block = one.method.g_ab.downs[1]  # type: ignore[union-attr, index]
        last = layer.weight.is_contiguous(memory_format=torch.channels_last)
        return bool(group["fused"]), last, "forward" in vars(layer), "forward" in vars(block)

    assert traits(OFF) == (False, False, False, False)
    assert traits(only(fused=True)) == (True, False, False, False)
    assert traits(only(memory_format="channels_last")) == (False, True, False, False)
    assert traits(only(conv_as_matmul=True)) == (False, False, True, False)
    assert traits(only(activation_checkpointing="blocks")) == (False, False, False, True)


@pytest.mark.parametrize("on", [True, False])
def test_denormal_numbers_are_flushed(on: bool) -> None:
    """Adam's squares of small gradients, say: 1e-40 is none in float32's normal numbers."""
    Runtime("cpu", speed=only(flush_denormals=on))
    try:
        small = torch.tensor([1e-40, 1.0]), torch.tensor([1e-310, 1.0], dtype=torch.float64)
        assert [bool(x.mul(1.0)[0] == 0) for x in small] == [on, on]
        assert [float(x.mul(1.0)[1]) for x in small] == [1.0, 1.0]
    finally:
        torch.set_flush_denormal(False)


# -- through the settings


def test_options_of_the_command_line_arrive() -> None:
    words = ["data", "--speed.compile", "--speed.no-fused", "--speed.memory_format",
             "channels_last", "--speed.cuda_graph=off"]  # fmt: skip
    config = train_settings("pix2pix", words)
    assert config.speed == SpeedConfig(
        fused=False, compile=True, memory_format="channels_last", cuda_graph="off"
    )
    anew = train_settings("pix2pix", ["data", "--speed.activation_checkpointing", "blocks"])
    assert anew.speed == SpeedConfig(activation_checkpointing="blocks")
    assert train_settings("pix2pix", ["data"]).speed == SpeedConfig()
    assert config.sections["speed"]["compile"] is True and "speed" in SECTIONS
    assert resolve(config.sections).speed == config.speed  # as it is read from config.json


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.count("\n") == 1 and said.startswith("viceversa: ")
    return said


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--speed.compil"], ["--speed.compil", "--speed.compile"]),
        (["--speed.memory_format", "sideways"], ["--speed.memory_format", "sideways", "measure"]),
        (["--speed.activation_checkpointing", "all"],
         ["--speed.activation_checkpointing", '"all"', "blocks"]),
        (["--speed.cuda_graph", "on"], ["--speed.cuda_graph", '"on"', "auto"]),
        (["--speed.fused", "maybe"], ["maybe"]),
        (["--speed.compile", "--speed.activation_checkpointing", "blocks"],
         ["speed.activation_checkpointing blocks cannot be combined with speed.compile"]),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_mistaken_option_is_named(
    words: list[str], named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "train", "pix2pix", "nowhere", *words)
    assert [one for one in named if one not in said] == [], said


def test_a_mistake_in_a_recipe_is_named() -> None:
    config = train_settings("pix2pix", ["data"])
    wrong = {**config.sections, "speed": {"fuse": True}}
    with pytest.raises(UserError, match=r"speed has no option 'fuse' \(did you mean fused\?\)"):
        resolve(wrong)
    with pytest.raises(UserError, match=r"speed\.compile takes true or false, not 'yes'"):
        resolve({**config.sections, "speed": {"compile": "yes"}})


@pytest.mark.parametrize("recipe", ["pix2pix", "cyclegan"])
def test_the_options_are_shown(
    recipe: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    main(["show", recipe])
    said = capsys.readouterr().out
    section = said.partition("[speed]\n")[2].partition("\n\n")[0].splitlines()
    shown = {line.split(" = ")[0]: json.loads(line.split(" = ")[1]) for line in section}
    assert shown == vars(SpeedConfig())
    main(["train", recipe, "--help"])
    said = re.sub(r"[\s│]+", "", capsys.readouterr().out)  # long names are wrapped
    assert all(f"--speed.{key}" in said for key in vars(SpeedConfig()))


# -- memory that stays with the process

FAULTS = """
import ctypes, resource, sys
from viceversa.environment import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
size = 64 * 2**20

def use():
    block = library.malloc(size)
    library.memset(block, 1, size)
    library.free(block)

use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*words: str, **environment: str) -> tuple[str, int]:
    """What `keep_freed_memory` answered, and the pages that came anew in five rounds."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *words], env=clean | environment, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    kept, pages = done.stdout.split()
    return kept, int(pages)


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's C library")
def test_freed_memory_is_kept() -> None:
    kept, pages = faults("keep")
    assert kept == "True" and pages < 50
    _, without = faults("leave")  # the control; huge pages, where there are, make it fewer
    assert without > 10 * max(pages, 1)
    kept, pages = faults("keep", MALLOC_ARENA_MAX="2")  # the user has said something else
    assert kept == "False" and pages > without / 2
