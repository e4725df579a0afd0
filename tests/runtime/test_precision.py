"""Half precision: results near full precision, losses in float32, gradient scaling, errors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from support import (
    checkpoint_state,
    command_error,
    identical,
    inject_non_finite,
    newest_checkpoint,
    noise_pairs,
    raises_user_error,
    train_until_crash,
)
from tiny_runs import (
    METHODS,
    OFF,
    Losses,
    TinyRun,
    batch,
    max_loss_difference,
    run_config,
    tiny_run,
    train_steps,
    training_state,
)
from torch import nn

from viceversa.checkpoint import load_state, save_state
from viceversa.config.run import resolve
from viceversa.config.speed import SpeedConfig
from viceversa.errors import UserError
from viceversa.runtime.training import Runtime
from viceversa.training import loop as training
from viceversa.training.gradients import GradientStats
from viceversa.training.step import MicroBatch, update

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_pairs(tmp_path / "data", 6, 32)


def set_scale(one: TinyRun, scale: float) -> None:
    """Set the gradient scale of fp16 (65536 at first)."""
    if one.runtime.precision.name == "fp16":
        one.runtime.precision.load_state_dict(
            {**one.runtime.precision.state_dict(), "scale": scale}
        )


def scale(one: TinyRun) -> float:
    return float(one.runtime.precision.state_dict()["scale"])


def largest(losses: Losses) -> float:
    return max(float(value.abs()) for step in losses for value in step.values())


# -- near full precision


@pytest.mark.parametrize("gan_loss", ["lsgan", "wgan-gp"])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("speed", [OFF, SpeedConfig()], ids=["off", "on"])
def test_losses_are_near_those_of_full_precision(
    precision: str, name: str, gan_loss: str, speed: SpeedConfig
) -> None:
    """Losses of four steps differ by at most 1 % of the largest loss."""
    more = {"method": {"gan_loss": gan_loss}, "generator": {"dropout": 0.0}}
    half, full = tiny_run(name, speed, precision, **more), tiny_run(name, speed, "fp32", **more)
    set_scale(half, 256.0)
    found, expected = train_steps(half, 4), train_steps(full, 4)
    for losses in found:
        assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert 0 < max_loss_difference(found, expected) < 0.01 * largest(expected)
    assert all(weight.dtype == torch.float32 for weight in half.method.parameters())
    assert all(bool(value.isfinite().all()) for value in training_state(half).values())


@pytest.mark.parametrize("precision", ["fp32", *HALVES])
def test_convolutions_compute_in_the_selected_precision(precision: str) -> None:
    one = tiny_run("pix2pix", OFF, precision)
    types: set[torch.dtype] = set()
    for layer in one.method.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, __, out: types.add(out.dtype))
    train_steps(one, 1)
    assert types == {HALVES.get(precision, torch.float32)}


@pytest.mark.parametrize("method", [{"gan_loss": "wgan-gp"}, {"lambda_r1": 1.0}], ids=["gp", "r1"])
def test_a_gradient_penalty_is_computed_in_full_precision(method: dict[str, Any]) -> None:
    one = tiny_run("pix2pix", OFF, "bf16", method=method)
    discriminator, types = one.method.discriminators()["b"].network, []
    discriminator.register_forward_hook(lambda _, __, out: types.append(out[0].dtype))
    train_steps(one, 1)
    assert sorted(map(str, types)) == ["torch.bfloat16"] * 3 + ["torch.float32"]


@pytest.mark.parametrize("precision", HALVES)
def test_control_a_mean_in_half_precision_is_inaccurate(precision: str) -> None:
    """The control for losses in float32."""
    logits = torch.linspace(0.9, 1.1, 30 * 30 * 8).to(HALVES[precision])
    exact = float((logits.double() - 0.3).square().mean())
    naive = float((logits - 0.3).square().mean())
    ours = float((logits.float() - 0.3).square().mean())
    assert abs(ours - exact) < 1e-6 < 1e-5 < abs(naive - exact)


def test_fp32_switches_tf32_off() -> None:
    """By default torch lets convolutions on a GPU use tf32."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    Runtime("cpu")
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


# -- gradient scaling in fp16


def gradient_norms(precision: str, clip: float = 0.0) -> dict[str, float]:
    """Return the gradient norm of each player at its optimizer step."""
    one = tiny_run("pix2pix", OFF, precision, generator={"dropout": 0.0})
    set_scale(one, 1024.0)
    found: dict[str, float] = {}
    for player, optimizer in one.optimizers.items():

        def record(o: torch.optim.Optimizer, *_: Any, player: str = player) -> None:
            weights = o.param_groups[0]["params"]
            found[player] = float(nn.utils.get_total_norm([w.grad for w in weights]))

        optimizer.register_step_pre_hook(record)
    update(one.method, [MicroBatch(batch(0))], one.optimizers, one.runtime, clip)
    return found


def test_gradients_are_unscaled_before_they_are_clipped() -> None:
    full, half = gradient_norms("fp32"), gradient_norms("fp16")
    assert half == {player: pytest.approx(norm, rel=0.05) for player, norm in full.items()}
    assert gradient_norms("fp16", clip=1e-2) == {
        player: pytest.approx(1e-2, rel=1e-3) for player in full
    }
    generous = 10 * max(full.values())  # would clip scaled gradients (1024 times as large)
    assert gradient_norms("fp16", clip=generous) == half


@pytest.mark.parametrize("speed", [OFF, SpeedConfig()], ids=["off", "on"])
@pytest.mark.parametrize("name", METHODS)
def test_an_overflow_skips_the_step_and_halves_the_scale(name: str, speed: SpeedConfig) -> None:
    one = tiny_run(name, speed, "fp16")
    stats = GradientStats(one.runtime.device)
    update(
        one.method, [MicroBatch(batch(0))], one.optimizers, one.runtime, stats=stats
    )  # Adam's state
    stats.count_step()
    set_scale(one, 2.0**40)  # overflows in fp16 for any loss
    before = {n: w.detach().clone() for n, w in one.method.named_parameters()}
    optimizer_states = copy.deepcopy(
        {p: o.state_dict()["state"] for p, o in one.optimizers.items()}
    )
    losses = update(one.method, [MicroBatch(batch(1))], one.optimizers, one.runtime, stats=stats)
    stats.count_step()
    assert all(bool(loss.isfinite()) for loss in losses.values())
    assert identical(dict(one.method.named_parameters()), before)
    assert identical(
        {p: o.state_dict()["state"] for p, o in one.optimizers.items()}, optimizer_states
    )
    assert scale(one) == 2.0**39
    assert stats.first_fault() is None  # training continues
    set_scale(one, 256.0)
    update(one.method, [MicroBatch(batch(2))], one.optimizers, one.runtime, stats=stats)
    assert not identical(dict(one.method.named_parameters()), before) and scale(one) == 256.0


def test_the_scale_grows_after_steps_without_overflow() -> None:
    one = tiny_run("pix2pix", OFF, "fp16")
    state = {**one.runtime.precision.state_dict(), "scale": 64.0, "growth_interval": 3}
    one.runtime.precision.load_state_dict(state)
    scales = []
    for step in range(7):
        update(one.method, [MicroBatch(batch(step))], one.optimizers, one.runtime)
        scales.append(scale(one))
    assert scales == [64.0, 64.0, 128.0, 128.0, 128.0, 256.0, 256.0]


def test_the_scale_changes_only_after_the_last_micro_batch() -> None:
    """Accumulated gradients must have the same scale."""
    one = tiny_run("pix2pix", OFF, "fp16")
    set_scale(one, 2.0**40)
    for exponent in (39, 38):
        group = [MicroBatch(batch(number), 0.5) for number in range(2)]
        update(one.method, group, one.optimizers, one.runtime)
        assert scale(one) == 2.0**exponent


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_have_no_scale(precision: str) -> None:
    one = tiny_run("pix2pix", OFF, precision)
    train_steps(one, 1)
    runtime_precision = one.runtime.precision
    assert runtime_precision.state_dict() == {} and runtime_precision.may_overflow() is False
    loss = torch.tensor(2.0)
    assert runtime_precision.scale(loss) is loss
    runtime_precision.load_state_dict({"scale": 2.0})  # of a run that was in fp16 before


# -- complete runs


def half_run(name: str, data: Path, run: Path, precision: str = "fp16", **train: Any) -> Any:
    return run_config(name, data, run, train={"precision": precision, "save_every": 4, **train})


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_keeps_the_scale(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.train(half_run(name, data, tmp_path / "uninterrupted"))
    kept = checkpoint_state(tmp_path / "uninterrupted")
    assert 1 < kept["runtime"]["scaler"]["scale"] < 65536  # the first steps were too large for it
    assert kept["runtime"]["scaler"]["_growth_tracker"] > 4
    for run in ("interrupted", "naive"):
        train_until_crash(monkeypatch, 9, half_run(name, data, tmp_path / run))
    training.train(half_run(name, data, tmp_path / "interrupted"))
    assert identical(checkpoint_state(tmp_path / "interrupted"), kept)
    # The control: a run that resumes with the initial scale.
    path = newest_checkpoint(tmp_path / "naive")
    state = load_state(path)
    state["runtime"]["scaler"] = {}
    save_state(path, state)
    training.train(half_run(name, data, tmp_path / "naive"))
    naive = checkpoint_state(tmp_path / "naive")
    assert not identical(naive["runtime"], kept["runtime"])
    assert not identical(naive["method"], kept["method"])


def test_a_checkpoint_without_scaler_state_is_refused(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    training.train(half_run("pix2pix", data, run, epochs=1))
    path = newest_checkpoint(run)
    state = load_state(path)
    del state["runtime"]["scaler"]
    save_state(path, state)
    with pytest.raises(UserError, match="the checkpoint does not match this run: 'scaler'"):
        training.train(half_run("pix2pix", data, run, epochs=2))


@pytest.mark.parametrize(
    ("before", "after"), [("fp16", "fp32"), ("fp32", "fp16"), ("bf16", "fp16")]
)
def test_a_run_may_resume_in_another_precision(
    before: str, after: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    training.train(half_run("pix2pix", data, run, before, epochs=2))
    training.train(half_run("pix2pix", data, run, after, epochs=3))
    message = capsys.readouterr().out
    assert f"changed since the checkpoint: train.precision '{before}' -> '{after}'" in message
    assert checkpoint_state(run)["images"] == 18
    assert bool(checkpoint_state(run)["runtime"]["scaler"]) == (after == "fp16")


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
def test_non_finite_images_stop_the_run(
    precision: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp16 they look like overflows until the scale is down at 1."""
    inject_non_finite(monkeypatch, lambda epoch, position: epoch > 1)
    run = training.Run(half_run("pix2pix", data, tmp_path / "run", precision, epochs=8))
    with pytest.raises(UserError, match=r"training stopped: .* not finite"):
        training.train_run(run)
    assert all(bool(weight.isfinite().all()) for weight in run.method.parameters())
    if precision != "fp16":
        assert run.progress.images <= 8
        return
    assert run.runtime.precision.state_dict()["scale"] <= 1
    # One epoch, 10 to 16 halvings of the scale, and up to 4 images until the next log line.
    assert 6 + 10 <= run.progress.images <= 6 + 16 + 4


def test_a_single_non_finite_image_counts_as_an_overflow_in_fp16(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It skips a step and halves the scale; in full precision the run ends."""
    inject_non_finite(monkeypatch, lambda epoch, position: (epoch, position) == (2, 3))
    training.train(half_run("pix2pix", data, tmp_path / "half"))
    kept = checkpoint_state(tmp_path / "half")["method"]
    assert all(bool(value.isfinite().all()) for value in kept.values())
    with raises_user_error("train.lr"):
        training.train(half_run("pix2pix", data, tmp_path / "full", "fp32"))


# -- errors


def test_tf32_is_refused_where_there_is_no_such_gpu(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = ("train", "pix2pix", data, "--train.run", run, "--train.device", "cpu")
    message = command_error(capsys, *arguments, "--train.precision", "tf32")
    assert message == (
        "viceversa: train.precision tf32 is not available on cpu: it needs a CUDA device of "
        "compute capability 8.0 or later\n"
    )
    assert not run.exists()


def test_an_unknown_precision_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = command_error(capsys, "train", "pix2pix", data, "--train.precision", "fp8")
    assert message.startswith("viceversa: ") and "--train.precision" in message
    assert all(name in message for name in ("fp8", "fp32", "tf32", "bf16", "fp16"))
    sections = run_config("pix2pix", data, Path("unused")).sections
    with raises_user_error("train.precision") as caught:
        resolve({**sections, "train": {"precision": "half"}})
    assert "takes one of auto, fp32, tf32" in str(caught.value) and "not 'half'" in str(
        caught.value
    )
