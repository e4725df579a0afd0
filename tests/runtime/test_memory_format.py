"""The memory format is measured, reported, saved, and does not change results."""

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
from tiny_runs import METHODS, TinyRun, batch, only, run_config, tiny_run
from torch import Tensor, nn

from viceversa.checkpoint import load_state, save_state
from viceversa.config.speed import SpeedConfig
from viceversa.errors import UserError
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


def fake_measurement(monkeypatch: pytest.MonkeyPatch, answer: str) -> list[int]:
    """Replace the measurement; return a list that collects the batch size of each one."""
    measured_batches: list[int] = []

    def measured(network: nn.Module, images: Tensor, autocast: object) -> str:
        measured_batches.append(len(images))
        return answer

    monkeypatch.setattr(training, "faster_format", measured)
    return measured_batches


# -- measurement


def test_a_measurement_returns_a_known_format() -> None:
    assert faster_format(network(), batch(0)[0], nullcontext) in FORMATS


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [(0.5, "channels_last"), (0.94, "channels_last"), (0.96, "contiguous"), (2.0, "contiguous")],
)
def test_channels_last_must_be_5_percent_faster(
    seconds: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compares medians of three passes; the first pass of each format is a warm-up."""
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
def test_measuring_changes_no_state(activation_checkpointing: Any) -> None:
    """No weight, gradient, running statistic or random state changes."""
    speed = SpeedConfig(
        memory_format="contiguous", activation_checkpointing=activation_checkpointing
    )
    run = tiny_run("pix2pix", speed)
    generator = run.method.translators()["ab"]
    before = copy.deepcopy(generator.state_dict())
    random_states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    faster_format(generator, batch(0)[0], run.runtime.autocast)
    assert identical(dict(generator.state_dict()), dict(before))
    assert all(weight.grad is None for weight in generator.parameters())
    assert all(w.is_contiguous() for w in generator.parameters())
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]
    assert torch.equal(random_states[0], after[0]) and random_states[1] == after[1]
    assert np.array_equal(random_states[2], after[2])
    generator(batch(0)[0])  # the control: a forward pass changes them
    assert not identical(dict(generator.state_dict()), dict(before))
    assert not torch.equal(random_states[0], torch.get_rng_state())


@pytest.mark.parametrize(
    ("option", "deterministic", "saved", "chosen", "measures"),
    [
        ("measure", False, None, "channels_last", True),
        ("measure", False, "contiguous", "contiguous", False),  # from the checkpoint
        ("measure", False, "channels_last", "channels_last", False),
        ("measure", False, "sideways", "channels_last", True),  # unknown format: measured again
        ("measure", True, None, "contiguous", False),
        ("measure", True, "channels_last", "contiguous", False),
        ("auto", False, None, "contiguous", False),  # on a CPU
        ("auto", False, "channels_last", "contiguous", False),
        ("contiguous", False, "channels_last", "contiguous", False),
        ("channels_last", False, None, "channels_last", False),
        ("channels_last", True, None, "channels_last", False),
    ],
)
def test_the_format_depends_on_option_determinism_and_checkpoint(
    option: Any,
    deterministic: bool,
    saved: str | None,
    chosen: str,
    measures: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured_batches = fake_measurement(monkeypatch, "channels_last")
    runtime = Runtime("cpu", deterministic=deterministic, speed=only(memory_format=option))
    torch.use_deterministic_algorithms(False)
    run = network()
    assert runtime.choose_memory_format(run, run, lambda: batch(0, 3)[0], saved) == chosen
    assert measured_batches == ([3] if measures else [])
    assert runtime.memory_format == chosen
    kernels = [w for w in run.parameters() if w.ndim == 4]
    assert all(w.is_contiguous(memory_format=FORMATS[chosen]) for w in kernels)
    formatted = runtime.format_batch(batch(0))
    a, b = formatted.a, formatted.b
    assert all(x.is_contiguous(memory_format=FORMATS[chosen]) for x in (a, b))
    assert torch.equal(a, batch(0)[0])


def test_images_in_the_right_format_are_not_copied() -> None:
    plain = batch(0)[0]
    last = to_format(plain, "channels_last")
    assert to_format(plain, "contiguous") is plain and to_format(last, "channels_last") is last
    assert torch.equal(last, plain) and last.stride() != plain.stride()


# -- in a run


def test_a_run_reports_the_format_and_keeps_it_when_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def config(run: str) -> Any:
        more: dict[str, Any] = {"train": {"epochs": 2, "save_every": 3, "batch_size": 2}}
        return run_config(
            "pix2pix", data, tmp_path / run, speed={"memory_format": "measure"}, **more
        )

    message = "memory format of images: channels_last"
    measured_batches = fake_measurement(monkeypatch, "channels_last")
    train_until_crash(monkeypatch, 6, config("run"))
    assert measured_batches == [2] and message in capsys.readouterr().out
    assert checkpoint_state(tmp_path / "run")["runtime"]["format"] == "channels_last"

    measured_batches = fake_measurement(monkeypatch, "contiguous")  # a measurement would differ now
    train(config("run"))
    assert measured_batches == [] and message in capsys.readouterr().out
    assert checkpoint_state(tmp_path / "run")["runtime"]["format"] == "channels_last"

    train(config("other"))  # a separate run measures again
    assert measured_batches == [2] and message not in capsys.readouterr().out
    assert checkpoint_state(tmp_path / "other")["runtime"]["format"] == "contiguous"


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_in_channels_last_equals_an_uninterrupted_one(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(run: str) -> Any:
        return run_config(
            name,
            data,
            tmp_path / run,
            speed={"memory_format": "channels_last"},
            train={"epochs": 2, "save_every": 4},
        )

    train(config("uninterrupted"))
    train_until_crash(monkeypatch, 5, config("interrupted"))
    train(config("interrupted"))
    assert identical(
        checkpoint_state(tmp_path / "interrupted"), checkpoint_state(tmp_path / "uninterrupted")
    )
    # The control: optimizer states in another format than the weights.
    train_until_crash(monkeypatch, 5, config("naive"))
    monkeypatch.setattr(saving, "_match_memory_format", lambda optimizer: None)
    train(config("naive"))
    assert not identical(
        checkpoint_state(tmp_path / "naive"), checkpoint_state(tmp_path / "uninterrupted")
    )


def resume_run(data: Path, run: Path) -> TinyRun:
    """Train a run in channels_last, then resume it from its last checkpoint."""
    config = run_config(
        "pix2pix", data, run, speed={"memory_format": "channels_last"}, train={"epochs": 1}
    )
    train(config)
    resumed_run = Run(config)
    resume(resumed_run)
    return TinyRun(config, resumed_run.method, resumed_run.runtime, resumed_run.optimizers)


def test_optimizer_states_have_the_format_of_their_weights_after_resuming(
    data: Path, tmp_path: Path
) -> None:
    run = resume_run(data, tmp_path / "run")
    count = 0
    for optimizer in run.optimizers.values():
        for weight, state in optimizer.state.items():
            assert state["exp_avg"].stride() == state["exp_avg_sq"].stride() == weight.stride()
            if weight.ndim == 4:
                assert weight.is_contiguous(memory_format=LAST)
                count += not weight.is_contiguous()  # 1x1 kernels are in both formats
    assert count > 3
    update(run.method, [MicroBatch(batch(0))], run.optimizers, run.runtime)


def test_checkpoints_do_not_depend_on_the_format(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may resume in another format."""
    run = tmp_path / "run"
    more: dict[str, Any] = {"train": {"epochs": 2, "save_every": 3}}
    last = run_config("pix2pix", data, run, speed={"memory_format": "channels_last"}, **more)
    train_until_crash(monkeypatch, 6, last)
    before = load_state(newest_checkpoint(run))
    assert all(value.is_contiguous() for value in before["method"].values())
    resumed_run = Run(run_config("pix2pix", data, run, **more))
    resume(resumed_run)
    assert identical(dict(resumed_run.method.state_dict()), before["method"])
    assert all(weight.is_contiguous() for weight in resumed_run.method.parameters())
    train_run(resumed_run)
    assert checkpoint_state(run)["images"] == 12


def test_an_invalid_saved_format_is_measured_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    config = run_config(
        "pix2pix", data, run, speed={"memory_format": "measure"}, train={"epochs": 1}
    )
    measured_batches = fake_measurement(monkeypatch, "channels_last")
    train(config)
    state = load_state(newest_checkpoint(run))
    state["runtime"]["format"] = ["channels_last"]
    save_state(newest_checkpoint(run), state)
    train(config)
    assert len(measured_batches) == 2


def test_too_little_memory_for_the_measurement_names_the_option(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(memory_format, "_time_pass", failing)
    config = run_config("pix2pix", data, tmp_path / "run", speed={"memory_format": "measure"})
    with pytest.raises(UserError, match="out of memory with batches of") as caught:
        train(config)
    assert caught.value.option == "train.batch_size"
