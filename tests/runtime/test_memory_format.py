"""How images lie in memory: measured, told, kept, and felt by no number."""

from __future__ import annotations

import copy
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import checkpoint_state, identical, newest_checkpoint, noise_pairs, train_until_crash
from tiny import METHODS, Made, batch, in_folder, made, only
from torch import Tensor, nn

from viceversa.checkpoint import load_state, save_state
from viceversa.config.speed import SpeedConfig
from viceversa.networks.unet import UNet
from viceversa.runtime import memory_format, training
from viceversa.runtime.memory_format import FORMATS, faster_format, to_format
from viceversa.runtime.training import Runtime
from viceversa.training import checkpoint as saving
from viceversa.training.loop import Run, train, train_run
from viceversa.training.resume import resume
from viceversa.training.step import MicroBatch, update

LAST = torch.channels_last


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_pairs(tmp_path / "data", 6, 32)


def network() -> UNet:
    torch.manual_seed(0)
    return UNet(UNet.Config(width=4, depth=3), 3, 3).train()


def answering(monkeypatch: pytest.MonkeyPatch, answer: str) -> list[int]:
    """Let the measurement find this; filled with the images of each."""
    asked: list[int] = []

    def measured(network: nn.Module, images: Tensor, autocast: object) -> str:
        asked.append(len(images))
        return answer

    monkeypatch.setattr(training, "faster_format", measured)
    return asked


# -- measuring


def test_a_measurement_chooses_one_of_them() -> None:
    assert faster_format(network(), batch(0)[0], nullcontext) in FORMATS


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [(0.5, "channels_last"), (0.94, "channels_last"), (0.96, "contiguous"), (2.0, "contiguous")],
)
def test_channels_last_has_to_be_clearly_faster(
    seconds: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the median of three; the first pass each way, which warms up, does not count."""
    passes = {"contiguous": [9.0, 1.0, 1.0, 7.0], "channels_last": [9.0, seconds, 7.0, seconds]}

    def timed(network: nn.Module, images: Tensor, autocast: object) -> float:
        last = images.is_contiguous(memory_format=LAST)
        assert next(w for w in network.parameters() if w.ndim == 4).is_contiguous(
            memory_format=LAST if last else torch.contiguous_format
        )
        return passes["channels_last" if last else "contiguous"].pop(0)

    monkeypatch.setattr(memory_format, "_time_pass", timed)
    assert faster_format(network(), batch(0)[0], nullcontext) == chosen
    assert passes == {"contiguous": [], "channels_last": []}


@pytest.mark.parametrize("activation_checkpointing", ["off", "blocks"])
def test_measuring_leaves_no_trace(activation_checkpointing: str) -> None:
    """No weight, gradient, statistic or random number changes; dropout and batch norm are on."""
    one = made(
        "pix2pix",
        SpeedConfig(memory_format="contiguous", activation_checkpointing=activation_checkpointing),
    )  # type: ignore[arg-type]
    judged = one.method.translators()["ab"]
    before = copy.deepcopy(judged.state_dict())
    chance = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    faster_format(judged, batch(0)[0], one.runtime.autocast)
    assert identical(dict(judged.state_dict()), dict(before))
    assert all(weight.grad is None for weight in judged.parameters())
    assert all(w.is_contiguous() for w in judged.parameters())
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]
    assert torch.equal(chance[0], after[0]) and chance[1] == after[1]
    assert np.array_equal(chance[2], after[2])
    judged(batch(0)[0])  # the control: a pass of the network itself does change them
    assert not identical(dict(judged.state_dict()), dict(before))
    assert not torch.equal(chance[0], torch.get_rng_state())


@pytest.mark.parametrize(
    ("wanted", "deterministic", "before", "chosen", "asks"),
    [
        ("measure", False, None, "channels_last", True),
        ("measure", False, "contiguous", "contiguous", False),  # as the run had it
        ("measure", False, "channels_last", "channels_last", False),
        ("measure", False, "sideways", "channels_last", True),  # no such format: measured anew
        ("measure", True, None, "contiguous", False),
        ("measure", True, "channels_last", "contiguous", False),
        ("auto", False, None, "contiguous", False),  # on a processor
        ("auto", False, "channels_last", "contiguous", False),
        ("contiguous", False, "channels_last", "contiguous", False),
        ("channels_last", False, None, "channels_last", False),
        ("channels_last", True, None, "channels_last", False),
    ],
)
def test_who_decides(
    wanted: Any, deterministic: bool, before: str | None, chosen: str, asks: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked = answering(monkeypatch, "channels_last")
    runtime = Runtime("cpu", deterministic=deterministic, speed=only(memory_format=wanted))
    torch.use_deterministic_algorithms(False)
    one = network()
    assert runtime.choose_memory_format(one, one, lambda: batch(0, 3)[0], before) == chosen
    assert asked == ([3] if asks else [])
    assert runtime.memory_format == chosen
    kernels = [w for w in one.parameters() if w.ndim == 4]
    assert all(w.is_contiguous(memory_format=FORMATS[chosen]) for w in kernels)
    a, b = runtime.format_batch(batch(0))
    assert all(x.is_contiguous(memory_format=FORMATS[chosen]) for x in (a, b))
    assert torch.equal(a, batch(0)[0])


def test_images_that_lie_right_are_not_copied() -> None:
    plain = batch(0)[0]
    last = to_format(plain, "channels_last")
    assert to_format(plain, "contiguous") is plain and to_format(last, "channels_last") is last
    assert torch.equal(last, plain) and last.stride() != plain.stride()


# -- through a run


def test_a_run_says_what_was_measured_and_keeps_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def config(run: str) -> Any:
        more: dict[str, Any] = {"train": {"epochs": 2, "save_every": 3, "batch_size": 2}}
        return in_folder("pix2pix", data, tmp_path / run, speed={"memory_format": "measure"},
                         **more)  # fmt: skip

    told = "memory format of images: channels_last"
    asked = answering(monkeypatch, "channels_last")
    train_until_crash(monkeypatch, 6, config("run"))
    assert asked == [2] and told in capsys.readouterr().out
    assert checkpoint_state(tmp_path / "run")["runtime"]["format"] == "channels_last"

    asked = answering(monkeypatch, "contiguous")  # another day, another measurement
    train(config("run"))
    assert asked == [] and told in capsys.readouterr().out
    assert checkpoint_state(tmp_path / "run")["runtime"]["format"] == "channels_last"

    train(config("other"))  # a run of its own does ask
    assert asked == [2] and told not in capsys.readouterr().out
    assert checkpoint_state(tmp_path / "other")["runtime"]["format"] == "contiguous"


@pytest.mark.parametrize("name", METHODS)
def test_going_on_in_channels_last_equals_never_having_stopped(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(run: str) -> Any:
        return in_folder(name, data, tmp_path / run, speed={"memory_format": "channels_last"},
                         train={"epochs": 2, "save_every": 4})  # fmt: skip

    train(config("whole"))
    train_until_crash(monkeypatch, 5, config("cut"))
    train(config("cut"))
    assert identical(checkpoint_state(tmp_path / "cut"), checkpoint_state(tmp_path / "whole"))
    # The control: averages that lie otherwise than their weights, in one kernel for all of them.
    train_until_crash(monkeypatch, 5, config("naive"))
    monkeypatch.setattr(saving, "_match_memory_format", lambda optimizer: None)
    train(config("naive"))
    assert not identical(checkpoint_state(tmp_path / "naive"), checkpoint_state(tmp_path / "whole"))


def resumed(data: Path, run: Path) -> Made:
    """A run in channels_last that has taken up its last checkpoint."""
    config = in_folder("pix2pix", data, run, speed={"memory_format": "channels_last"},
                       train={"epochs": 1})  # fmt: skip
    train(config)
    going_on = Run(config)
    resume(going_on)
    return Made(config, going_on.method, going_on.runtime, going_on.optimizers)


def test_averages_lie_as_their_weights_after_going_on(data: Path, tmp_path: Path) -> None:
    one = resumed(data, tmp_path / "run")
    seen = 0
    for optimizer in one.optimizers.values():
        for weight, kept in optimizer.state.items():
            assert kept["exp_avg"].stride() == kept["exp_avg_sq"].stride() == weight.stride()
            if weight.ndim == 4:
                assert weight.is_contiguous(memory_format=LAST)
                seen += not weight.is_contiguous()  # 1x1 maps lie both ways
    assert seen > 3
    update(one.method, [MicroBatch(batch(0))], one.optimizers, one.runtime)


def test_another_format_does_not_change_what_a_checkpoint_holds(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are saved by value: a run may go on in another format."""
    run = tmp_path / "run"
    more: dict[str, Any] = {"train": {"epochs": 2, "save_every": 3}}
    last = in_folder("pix2pix", data, run, speed={"memory_format": "channels_last"}, **more)
    train_until_crash(monkeypatch, 6, last)
    before = load_state(newest_checkpoint(run))
    assert all(value.is_contiguous() for value in before["method"].values())
    going_on = Run(in_folder("pix2pix", data, run, **more))
    resume(going_on)
    assert identical(dict(going_on.method.state_dict()), before["method"])
    assert all(weight.is_contiguous() for weight in going_on.method.parameters())
    train_run(going_on)
    assert checkpoint_state(run)["images"] == 12


def test_a_format_that_there_is_not_is_measured_anew(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    config = in_folder("pix2pix", data, run, speed={"memory_format": "measure"},
                       train={"epochs": 1})  # fmt: skip
    asked = answering(monkeypatch, "channels_last")
    train(config)
    state = load_state(newest_checkpoint(run))
    state["runtime"]["format"] = ["channels_last"]
    save_state(newest_checkpoint(run), state)
    train(config)
    assert len(asked) == 2
