"""Half precision: near full precision, losses in float32, a scale that is kept, and what stops."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from support import checkpoint_state, identical, newest_checkpoint, noise_pairs, train_until_crash
from tiny import METHODS, OFF, Losses, Made, apart, batch, in_folder, left, made, steps
from torch import nn

from viceversa.checkpoint import load_state, save_state
from viceversa.cli import main
from viceversa.config.run import resolve
from viceversa.config.speed import SpeedConfig
from viceversa.data.dataset import ImageDataset
from viceversa.errors import UserError
from viceversa.runtime.training import Runtime
from viceversa.training import loop as training
from viceversa.training.gradients import GradientStats
from viceversa.training.step import MicroBatch, update

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_pairs(tmp_path / "data", 6, 32)


def scaled_by(one: Made, scale: float) -> None:
    """Put fp16's scale somewhere; it starts at 65536."""
    if one.runtime.precision.name == "fp16":
        one.runtime.precision.load_state_dict(
            {**one.runtime.precision.state_dict(), "scale": scale}
        )


def scale(one: Made) -> float:
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
    """Of four steps; to a hundredth of the largest loss, with bf16's 8 bits and fp16's 11."""
    more = {"method": {"gan_loss": gan_loss}, "generator": {"dropout": 0.0}}
    half, full = made(name, speed, precision, **more), made(name, speed, "fp32", **more)
    scaled_by(half, 256.0)
    found, expected = steps(half, 4), steps(full, 4)
    for losses in found:
        assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert 0 < apart(found, expected) < 0.01 * largest(expected)
    assert all(weight.dtype == torch.float32 for weight in half.method.parameters())
    assert all(bool(value.isfinite().all()) for value in left(half).values())


@pytest.mark.parametrize("precision", ["fp32", *HALVES])
def test_networks_compute_in_the_precision_that_was_asked_for(precision: str) -> None:
    one = made("pix2pix", OFF, precision)
    types: set[torch.dtype] = set()
    for layer in one.method.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, __, out: types.add(out.dtype))
    steps(one, 1)
    assert types == {HALVES.get(precision, torch.float32)}


def test_a_gradient_penalty_is_taken_in_full_precision() -> None:
    one = made("pix2pix", OFF, "bf16", method={"gan_loss": "wgan-gp"})
    judge, types = one.method.discriminators()["b"].network, []
    judge.register_forward_hook(lambda _, __, out: types.append(out[0].dtype))
    steps(one, 1)
    assert sorted(map(str, types)) == ["torch.bfloat16"] * 3 + ["torch.float32"]


@pytest.mark.parametrize("precision", HALVES)
def test_half_precision_is_too_coarse_for_the_mean_of_a_map(precision: str) -> None:
    """The control for losses in float32: a mean that is taken in half precision is off."""
    logits = torch.linspace(0.9, 1.1, 30 * 30 * 8).to(HALVES[precision])
    exact = float((logits.double() - 0.3).square().mean())
    naive = float((logits - 0.3).square().mean())
    ours = float((logits.float() - 0.3).square().mean())
    assert abs(ours - exact) < 1e-6 < 1e-5 < abs(naive - exact)


def test_networks_and_gradients_are_not_rounded_in_full_precision() -> None:
    """torch lets convolutions of a GPU round to tf32 unless it is told otherwise."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    Runtime("cpu")
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


# -- the scale of fp16


def norms(precision: str, clip: float = 0.0) -> dict[str, float]:
    """The norm of each player's gradient as its optimizer sees it."""
    one = made("pix2pix", OFF, precision, generator={"dropout": 0.0})
    scaled_by(one, 1024.0)
    found: dict[str, float] = {}
    for player, optimizer in one.optimizers.items():

        def note(o: torch.optim.Optimizer, *_: Any, player: str = player) -> None:
            weights = o.param_groups[0]["params"]
            found[player] = float(nn.utils.get_total_norm([w.grad for w in weights]))

        optimizer.register_step_pre_hook(note)
    update(one.method, [MicroBatch(batch(0))], one.optimizers, one.runtime, clip)
    return found


def test_the_scale_is_taken_out_of_gradients_before_they_are_clipped() -> None:
    full, half = norms("fp32"), norms("fp16")
    assert half == {player: pytest.approx(norm, rel=0.05) for player, norm in full.items()}
    assert norms("fp16", clip=1e-2) == {player: pytest.approx(1e-2, rel=1e-3) for player in full}
    generous = 10 * max(full.values())  # far below 1024 times: it would clip what is scaled
    assert norms("fp16", clip=generous) == half


@pytest.mark.parametrize("speed", [OFF, SpeedConfig()], ids=["off", "on"])
@pytest.mark.parametrize("name", METHODS)
def test_an_overflow_skips_the_step_and_halves_the_scale(name: str, speed: SpeedConfig) -> None:
    one = made(name, speed, "fp16")
    watch = GradientStats(one.runtime.device)
    update(
        one.method, [MicroBatch(batch(0))], one.optimizers, one.runtime, stats=watch
    )  # Adam's state
    watch.count_step()
    scaled_by(one, 2.0**40)  # more than fp16 can hold, whatever the loss
    before = {n: w.detach().clone() for n, w in one.method.named_parameters()}
    averages = copy.deepcopy({p: o.state_dict()["state"] for p, o in one.optimizers.items()})
    losses = update(one.method, [MicroBatch(batch(1))], one.optimizers, one.runtime, stats=watch)
    watch.count_step()
    assert all(bool(loss.isfinite()) for loss in losses.values())
    assert identical(dict(one.method.named_parameters()), before)
    assert identical({p: o.state_dict()["state"] for p, o in one.optimizers.items()}, averages)
    assert scale(one) == 2.0**39
    assert watch.first_fault() is None  # it is no fault: training goes on
    scaled_by(one, 256.0)
    update(one.method, [MicroBatch(batch(2))], one.optimizers, one.runtime, stats=watch)
    assert not identical(dict(one.method.named_parameters()), before) and scale(one) == 256.0


def test_a_scale_that_has_held_grows() -> None:
    one = made("pix2pix", OFF, "fp16")
    state = {**one.runtime.precision.state_dict(), "scale": 64.0, "growth_interval": 3}
    one.runtime.precision.load_state_dict(state)
    seen = []
    for step in range(7):
        update(one.method, [MicroBatch(batch(step))], one.optimizers, one.runtime)
        seen.append(scale(one))
    assert seen == [64.0, 64.0, 128.0, 128.0, 128.0, 256.0, 256.0]


def test_the_scale_holds_over_a_group_of_batches() -> None:
    """Gradients of one scale add up: it changes when the players have stepped, and not before."""
    one = made("pix2pix", OFF, "fp16")
    scaled_by(one, 2.0**40)
    for exponent in (39, 38):
        group = [MicroBatch(batch(number), 0.5) for number in range(2)]
        update(one.method, group, one.optimizers, one.runtime)
        assert scale(one) == 2.0**exponent


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_have_no_scale(precision: str) -> None:
    one = made("pix2pix", OFF, precision)
    steps(one, 1)
    assert (
        one.runtime.precision.state_dict() == {} and one.runtime.precision.may_overflow() is False
    )
    loss = torch.tensor(2.0)
    assert one.runtime.precision.scale(loss) is loss
    one.runtime.precision.load_state_dict({"scale": 2.0})  # of a run that was in fp16 before


# -- whole runs


def half_run(name: str, data: Path, run: Path, precision: str = "fp16", **train: Any) -> Any:
    return in_folder(name, data, run, train={"precision": precision, "save_every": 4, **train})


@pytest.mark.parametrize("name", METHODS)
def test_going_on_equals_never_having_stopped_with_the_scale(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.train(half_run(name, data, tmp_path / "whole"))
    kept = checkpoint_state(tmp_path / "whole")
    assert 1 < kept["runtime"]["scaler"]["scale"] < 65536  # the first steps were too large for it
    assert kept["runtime"]["scaler"]["_growth_tracker"] > 4
    for run in ("cut", "naive"):
        train_until_crash(monkeypatch, 9, half_run(name, data, tmp_path / run))
    training.train(half_run(name, data, tmp_path / "cut"))
    assert identical(checkpoint_state(tmp_path / "cut"), kept)
    # The control: a run that begins with the scale of a new one.
    path = newest_checkpoint(tmp_path / "naive")
    state = load_state(path)
    state["runtime"]["scaler"] = {}
    save_state(path, state)
    training.train(half_run(name, data, tmp_path / "naive"))
    found = checkpoint_state(tmp_path / "naive")
    assert not identical(found["runtime"], kept["runtime"]) and not identical(
        found["method"], kept["method"]
    )


def test_a_checkpoint_without_a_scale_at_all_is_refused(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    training.train(half_run("pix2pix", data, run, epochs=1))
    path = newest_checkpoint(run)
    state = load_state(path)
    del state["runtime"]["scaler"]
    save_state(path, state)
    with pytest.raises(UserError, match="the checkpoint does not match this run: 'scaler'"):
        training.train(half_run("pix2pix", data, run, epochs=2))


@pytest.mark.parametrize(("before", "after"), [("fp16", "fp32"), ("fp32", "fp16"),
                                               ("bf16", "fp16")])  # fmt: skip
def test_a_run_may_go_on_in_another_precision(
    before: str, after: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    training.train(half_run("pix2pix", data, run, before, epochs=2))
    training.train(half_run("pix2pix", data, run, after, epochs=3))
    said = capsys.readouterr().out
    assert f"changed since the checkpoint: train.precision '{before}' -> '{after}'" in said
    assert checkpoint_state(run)["images"] == 18
    assert bool(checkpoint_state(run)["runtime"]["scaler"]) == (after == "fp16")


def spoil(monkeypatch: pytest.MonkeyPatch, bad: Any) -> None:
    """Make images no numbers, those of the (epoch, position) that `bad` says yes to."""
    real = ImageDataset.batch

    def spoilt(self: ImageDataset, places: Any, *rest: Any) -> Any:
        pair = real(self, places, *rest)
        if pair is not None and self.training and bad(*places[0]):
            pair[0][:] = float("nan")
        return pair

    monkeypatch.setattr(ImageDataset, "batch", spoilt)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
def test_images_that_are_no_numbers_stop_the_run(
    precision: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp16 any one of them may be an overflow: it takes until the scale is down at 1."""
    spoil(monkeypatch, lambda epoch, position: epoch > 1)
    run = training.Run(half_run("pix2pix", data, tmp_path / "run", precision, epochs=8))
    with pytest.raises(UserError, match=r"training stopped: .* not finite"):
        training.train_run(run)
    assert all(bool(weight.isfinite().all()) for weight in run.method.parameters())
    if precision != "fp16":
        assert run.progress.images <= 8
        return
    assert run.runtime.precision.state_dict()["scale"] <= 1
    # An epoch; halvings, of which overflows have made some already; until a line is due.
    assert 6 + 10 <= run.progress.images <= 6 + 16 + 4


def test_one_image_that_is_no_number_is_taken_for_an_overflow_in_fp16(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs a step and half of the scale; in full precision the run ends."""
    spoil(monkeypatch, lambda epoch, position: (epoch, position) == (2, 3))
    training.train(half_run("pix2pix", data, tmp_path / "half"))
    kept = checkpoint_state(tmp_path / "half")["method"]
    assert all(bool(value.isfinite().all()) for value in kept.values())
    with pytest.raises(UserError, match="training stopped"):
        training.train(half_run("pix2pix", data, tmp_path / "full", "fp32"))


# -- what is not available


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.count("\n") == 1 and said.startswith("viceversa: ")
    return said


def test_tf32_is_refused_where_there_is_no_such_gpu(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ("train", "pix2pix", data, "--train.run", run, "--train.device", "cpu")
    said = refused(capsys, *words, "--train.precision", "tf32")
    assert said == (
        "viceversa: train.precision tf32 is not available on cpu: it needs a CUDA device of "
        "compute capability 8.0 or later\n"
    )
    assert not run.exists()


def test_an_unknown_precision_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "train", "pix2pix", data, "--train.precision", "fp8")
    assert "--train.precision" in said and "fp8" in said
    assert all(name in said for name in ("fp32", "tf32", "bf16", "fp16"))
    sections = in_folder("pix2pix", data, Path("unused")).sections
    with pytest.raises(UserError, match=r"train\.precision takes one of fp32, tf32, .* not 'half'"):
        resolve({**sections, "train": {"precision": "half"}})
