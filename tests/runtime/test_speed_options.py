"""Steps equal those of a plain training loop; each speed option changes them by rounding only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import chain
from typing import Any

import pytest
import torch
from support import command_error, identical, raises_user_error
from tiny_runs import (
    METHODS,
    OFF,
    Losses,
    TinyRun,
    batch,
    max_difference,
    max_loss_difference,
    only,
    tiny_run,
    train_steps,
    training_state,
)
from torch import nn

from viceversa.batch import Batch
from viceversa.cli import main
from viceversa.config.command_line import train_settings
from viceversa.config.recipes import SECTIONS
from viceversa.config.run import resolve
from viceversa.config.speed import SpeedConfig
from viceversa.errors import UserError
from viceversa.runtime.training import Runtime
from viceversa.training.step import MicroBatch, update

# -- all options off


def plain_loop(one: TinyRun, count: int) -> Losses:
    """Train with a plain PyTorch loop."""
    train = one.config.train
    adams = {
        player: torch.optim.Adam(
            chain.from_iterable(network.parameters() for network in networks),
            lr=train.lr,
            betas=train.betas,
            fused=False,
            foreach=False,
        )
        for player, networks in one.method.players().items()
    }
    history: Losses = []
    torch.manual_seed(1)
    for step in range(count):
        history.append({})
        for player, losses in one.method.step(Batch(*batch(step))):
            assert player is not None
            adams[player].zero_grad()
            sum(losses.values()).backward()  # type: ignore[union-attr]
            adams[player].step()
            history[-1] |= {name: loss.detach() for name, loss in losses.items()}
    return history


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("gan_loss", ["lsgan", "wgan-gp"])
def test_with_all_options_off_steps_equal_a_plain_loop(name: str, gan_loss: str) -> None:
    """Identical in float32, with dropout and full image pools."""
    method = {"gan_loss": gan_loss}
    ours, plain = tiny_run(name, method=method), tiny_run(name, method=method)
    before = training_state(ours)
    found, expected = train_steps(ours, 4), plain_loop(plain, 4)
    assert identical(found, expected)
    state, other = ours.method.state_dict(), plain.method.state_dict()
    assert identical(state, other) and not identical(state, {key: before[key] for key in state})
    if name == "cyclegan":
        assert int(other["past_a.filled"]) == 2


def test_control_detects_another_seed() -> None:
    """The comparison includes dropout and image pools."""
    ours, plain = tiny_run("cyclegan"), tiny_run("cyclegan")
    found = train_steps(ours, 4)
    torch.manual_seed(2)
    other_losses = [
        update(plain.method, [MicroBatch(batch(step))], plain.optimizers, plain.runtime)
        for step in range(4)
    ]
    assert max_loss_difference(found, other_losses) > 1e-3


# -- single options

BATCHED = {
    "generator": {"norm": "instance", "dropout": 0.0},
    "discriminator": {"norm": "instance"},
}


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("speed", "more"),
    [
        (only(fused=True), {}),
        (only(flush_denormals=True), {}),
        (only(conv_as_matmul=True), {}),
        (only(memory_format="channels_last"), BATCHED),  # the dropout mask depends on the format
        (SpeedConfig(memory_format="channels_last", activation_checkpointing="blocks"), BATCHED),
    ],
    ids=["fused", "flush_denormals", "conv_as_matmul", "channels_last", "all"],
)
def test_an_option_changes_steps_by_rounding_only(
    name: str, speed: SpeedConfig, more: dict[str, Any]
) -> None:
    without, with_it = tiny_run(name, **more), tiny_run(name, speed, **more)
    assert max_loss_difference(train_steps(without), train_steps(with_it)) < 1e-9
    assert max_difference(training_state(without), training_state(with_it)) < 1e-9


@pytest.mark.usefixtures("in_float64")
def test_control_detects_a_small_change_of_betas() -> None:
    without, other = tiny_run("pix2pix"), tiny_run("pix2pix", train={"betas": [0.5, 0.998]})
    train_steps(without), train_steps(other)
    assert max_difference(training_state(without), training_state(other)) > 1e-6


def test_options_select_optimizer_strides_and_convolutions() -> None:

    def traits(speed: SpeedConfig) -> tuple[bool, bool, bool, bool]:
        one = tiny_run("pix2pix", speed)
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
    """1e-40 is denormal in float32, 1e-310 in float64."""
    Runtime("cpu", speed=only(flush_denormals=on))
    try:
        small = torch.tensor([1e-40, 1.0]), torch.tensor([1e-310, 1.0], dtype=torch.float64)
        assert [bool(x.mul(1.0)[0] == 0) for x in small] == [on, on]
        assert [float(x.mul(1.0)[1]) for x in small] == [1.0, 1.0]
    finally:
        torch.set_flush_denormal(False)


# -- settings


@pytest.mark.slow
def test_command_line_options_are_applied() -> None:
    arguments = [
        "data",
        "--speed.compile",
        "--speed.no-fused",
        "--speed.memory_format",
        "channels_last",
        "--speed.cuda_graph=off",
    ]
    config = train_settings("pix2pix", arguments)
    assert config.speed == SpeedConfig(
        fused=False, compile=True, memory_format="channels_last", cuda_graph="off"
    )
    checkpointing = train_settings(
        "pix2pix", ["data", "--speed.activation_checkpointing", "blocks"]
    )
    assert checkpointing.speed == SpeedConfig(activation_checkpointing="blocks")
    assert train_settings("pix2pix", ["data"]).speed == SpeedConfig()
    assert config.sections["speed"]["compile"] is True and "speed" in SECTIONS
    assert resolve(config.sections).speed == config.speed  # as read from config.json


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--speed.compil"], ["--speed.compil", "--speed.compile"]),
        (["--speed.memory_format", "sideways"], ["--speed.memory_format", "sideways", "measure"]),
        (
            ["--speed.activation_checkpointing", "all"],
            ["--speed.activation_checkpointing", '"all"', "blocks"],
        ),
        (["--speed.cuda_graph", "on"], ["--speed.cuda_graph", '"on"', "auto"]),
        (["--speed.fused", "maybe"], ["maybe"]),
        (
            ["--speed.compile", "--speed.activation_checkpointing", "blocks"],
            ["speed.activation_checkpointing blocks cannot be combined with speed.compile"],
        ),
    ],
    ids=" ".join,
)
def test_an_invalid_option_is_named(
    arguments: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    message = command_error(capsys, "train", "pix2pix", "nowhere", *arguments)
    assert message.startswith("viceversa: ")
    assert [text for text in expected if text not in message] == [], message


def test_an_invalid_option_in_a_recipe_is_named() -> None:
    config = train_settings("pix2pix", ["data"])
    wrong = {**config.sections, "speed": {"fuse": True}}
    with pytest.raises(UserError, match=r"speed has no option 'fuse' \(did you mean fused\?\)"):
        resolve(wrong)
    with raises_user_error("speed.compile"):
        resolve({**config.sections, "speed": {"compile": "yes"}})


@pytest.mark.parametrize("recipe", ["pix2pix", "cyclegan"])
def test_show_and_help_list_the_options(
    recipe: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    main(["show", recipe])
    output = capsys.readouterr().out
    section = output.partition("[speed]\n")[2].partition("\n\n")[0].splitlines()
    options = {line.split(" = ")[0]: json.loads(line.split(" = ")[1]) for line in section}
    assert options == vars(SpeedConfig())
    main(["train", recipe, "--help-all"])
    output = re.sub(r"[\s│]+", "", capsys.readouterr().out)  # long names are wrapped
    assert all(f"--speed.{key}" in output for key in vars(SpeedConfig()))


# -- freed memory

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


def faults(*arguments: str, **environment: str) -> tuple[str, int]:
    """Return the result of `keep_freed_memory` and the page faults of five allocations."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    kept, pages = done.stdout.split()
    return kept, int(pages)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="GNU's C library")
def test_freed_memory_is_kept() -> None:
    kept, pages = faults("keep")
    assert kept == "True" and pages < 50
    _, without = faults("leave")  # the control; huge pages reduce the faults
    assert without > 10 * max(pages, 1)
    kept, pages = faults("keep", MALLOC_ARENA_MAX="2")  # the user's setting is kept
    assert kept == "False" and pages > without / 2
