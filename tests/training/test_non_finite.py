"""Non-finite values never reach weights, optimizer states, statistics or pools; the run stops."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support import identical, inject_non_finite, noise_pairs
from torch import Tensor

from viceversa.batch import Batch
from viceversa.checkpoint import load_state
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.errors import UserError
from viceversa.methods.base import Method
from viceversa.networks.norms import BatchNorm
from viceversa.runtime.device import out_of_memory
from viceversa.runtime.training import Runtime
from viceversa.training import loop as training
from viceversa.training import step as training_step
from viceversa.training.gradients import Fault, GradientStats
from viceversa.training.setup import make_optimizers
from viceversa.training.step import MicroBatch, Optimizers, update

METHODS = ("pix2pix", "cyclegan")
BAD = (float("nan"), float("inf"))


def settings(name: str, data: Path, run: Path, /, **train: Any) -> RunConfig:
    tiny: dict[str, Any] = {
        "generator": {"name": "unet", "width": 4, "depth": 3, "norm": "batch", "dropout": 0.0},
        "discriminator": {"width": 4, "layers": 1, "norm": "batch"},
        "data": {"path": str(data), "preprocess": "none", "flip": False, "workers": 0},
        "train": {
            "run": str(run),
            "epochs": 3,
            "device": "cpu",
            "precision": "fp32",
            "log_every": 4,
            "samples": 0,
            "save_every": 3,
            **train,
        },
    }
    if name == "cyclegan":
        tiny["method"] = {"pool_size": 2}
    return resolve(merge(read_recipe(name), tiny))


def new_method(name: str) -> tuple[RunConfig, Method, Optimizers, Runtime]:
    config = settings(name, Path("unused"), Path("unused"))
    torch.manual_seed(0)
    method = make_method(config).train()
    runtime = Runtime("cpu")
    return config, method, make_optimizers(method, config.train, runtime), runtime


def batch(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    a, b = torch.rand(2, 2, 3, 16, 16, generator=generator) * 2 - 1
    return Batch(a, b)


def weights(method: Method, optimizers: Optimizers) -> dict[str, Tensor]:
    """Return copies of all weights and optimizer states."""
    tensors = {name: weight.detach().clone() for name, weight in method.named_parameters()}
    for player, optimizer in optimizers.items():
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{player}.{number}.{key}": value.clone() for key, value in state.items()}
    return tensors


def finite(method: Method) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in method.state_dict().values())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("value", BAD)
def test_a_non_finite_image_changes_no_state(name: str, side: int, value: float) -> None:
    _, method, optimizers, runtime = new_method(name)
    stats = GradientStats(runtime.device)
    for step in range(3):
        update(method, [MicroBatch(batch(step))], optimizers, runtime, stats=stats)
        stats.count_step()
    assert stats.first_fault() is None
    before = weights(method, optimizers)
    bad_batch = copy.deepcopy(batch(3))
    bad_batch[side][1, 2, 3, 4] = value
    losses = update(method, [MicroBatch(bad_batch)], optimizers, runtime, stats=stats)
    stats.count_step()
    assert not all(bool(loss.isfinite()) for loss in losses.values())
    assert identical(weights(method, optimizers), before) and finite(method)
    fault = stats.first_fault()
    assert fault is not None and fault.step == 3
    update(method, [MicroBatch(batch(4))], optimizers, runtime, stats=stats)
    stats.count_step()
    assert not identical(weights(method, optimizers), before) and finite(method)
    assert stats.first_fault() == fault


@pytest.mark.parametrize("name", METHODS)
def test_control_a_naive_step_becomes_non_finite(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The optimizer steps unconditionally; running statistics accept every value."""
    _, method, optimizers, runtime = new_method(name)
    update(method, [MicroBatch(batch(0))], optimizers, runtime)
    monkeypatch.setattr(Runtime, "step", lambda self, optimizer, is_finite: optimizer.step())
    bad_batch = copy.deepcopy(batch(1))
    bad_batch[0][0, 0, 0, 0] = float("nan")
    update(method, [MicroBatch(bad_batch)], optimizers, runtime)
    assert not all(bool(weight.isfinite().all()) for weight in method.parameters())
    norm = BatchNorm(3)
    norm.running_mean[0] = float("nan")  # as with torch.nn.BatchNorm2d
    norm(torch.randn(2, 3, 4, 4))
    assert norm.running_mean.isfinite().tolist() == [False, True, True]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_non_finite_gradient_skips_only_its_player(name: str, player: str) -> None:
    _, method, optimizers, runtime = new_method(name)
    stats = GradientStats(runtime.device)
    update(method, [MicroBatch(batch(0))], optimizers, runtime, stats=stats)
    stats.count_step()
    before = weights(method, optimizers)
    weight = next(method.players()[player][0].parameters())
    handle = weight.register_hook(lambda gradient: gradient * float("inf"))
    losses = update(method, [MicroBatch(batch(1))], optimizers, runtime, stats=stats)
    stats.count_step()
    handle.remove()
    assert all(bool(loss.isfinite()) for loss in losses.values())
    after = weights(method, optimizers)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    mine = {f"{part}." for part in _names(method, player)} | {f"{player}."}
    assert changed and not any(key.startswith(tuple(mine)) for key in changed)
    assert stats.first_fault() == Fault(player, 1)


def _names(method: Method, player: str) -> list[str]:
    names = {id(module): name for name, module in method.named_children()}
    return [names[id(network)] for network in method.players()[player]]


def test_a_non_finite_micro_batch_skips_the_whole_step() -> None:
    _, method, optimizers, runtime = new_method("pix2pix")
    update(method, [MicroBatch(batch(0))], optimizers, runtime)
    before = weights(method, optimizers)
    bad_batch = copy.deepcopy(batch(1))
    bad_batch[0][0, 0, 0, 0] = float("nan")
    group = [MicroBatch(bad_batch, 0.5), MicroBatch(batch(2), 0.5)]
    update(method, group, optimizers, runtime)
    assert identical(weights(method, optimizers), before)


# -- complete runs


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_pairs(tmp_path / "data", 8, 16)


@pytest.mark.parametrize("name", METHODS)
def test_a_run_stops_at_the_next_log_line_and_names_the_images(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = (2, 1)  # the second batch of the second epoch: step 10 of 24
    inject_non_finite(monkeypatch, lambda epoch, position: (epoch, position) == at)
    run = training.Run(settings(name, data, tmp_path / "run"))
    files_of_batch = run.data.train.names(*at)
    with pytest.raises(UserError) as caught:
        training.train_run(run)
    message = str(caught.value)
    assert "epoch 2, batch 2" in message and all(file in message for file in files_of_batch)
    assert "g_ab" in message or "d_b" in message
    assert ("g_l1" if name == "pix2pix" else "g_cycle_a") in message and "\n" not in message
    assert run.progress.images == 12  # the next log line
    files = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert [int(path.stem) for path in files] == [3, 6, 9]
    for path in files:
        tensors = load_state(path)["method"].values()
        assert all(bool(tensor.isfinite().all()) for tensor in tensors)
    assert finite(run.method)


def test_a_fault_is_detected_before_a_checkpoint_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject_non_finite(monkeypatch, lambda *at: at == (1, 4), side=1, value=math.inf)
    with pytest.raises(UserError, match="not finite"):
        training.train(settings("pix2pix", data, tmp_path / "run", log_every=1000))
    names = [int(path.stem) for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert names == [3]


# -- memory


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shape '[2]' is invalid"), False),
        (ValueError("x"), False),
    ],
)
def test_out_of_memory_errors_are_recognized(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) == expected


@pytest.mark.parametrize(
    ("more", "advice"),
    [
        ({"batch_size": 4}, "--train.batch_size 2 --train.accumulation_steps 2"),
        ({"batch_size": 1}, "--data.crop_size 8"),
    ],
)
def test_out_of_memory_suggests_settings(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, int], advice: str
) -> None:
    def raise_out_of_memory(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(training_step, "update", raise_out_of_memory)
    with pytest.raises(UserError, match="out of memory") as caught:
        training.train(settings("pix2pix", data, tmp_path / "run", **more))
    assert advice in str(caught.value) and "16x16" in str(caught.value)
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_other_errors_are_raised_unchanged(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_error(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(training_step, "update", raise_error)
    with pytest.raises(RuntimeError, match="a bug"):
        training.train(settings("pix2pix", data, tmp_path / "run"))


def test_an_operation_without_deterministic_version_is_explained() -> None:
    runtime = Runtime("cpu", deterministic=True)
    error = RuntimeError(
        "reflection_pad2d_backward_cuda does not have a deterministic implementation, but you set"
    )
    message = str(runtime.explain(error))
    assert "train.deterministic" in message and "reflection_pad2d_backward_cuda" in message
    assert runtime.explain(RuntimeError("other")).args == ("other",)
    torch.use_deterministic_algorithms(False)
