"""What is not finite never reaches a weight, an average, a statistic or the pool; the run stops."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from support import noise_pairs
from torch import Tensor

from viceversa.checkpoint import load_state
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.data.dataset import ImageDataset
from viceversa.errors import UserError
from viceversa.methods.base import Batch, Method
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
        "train": {"run": str(run), "epochs": 3, "device": "cpu", "log_every": 4, "samples": 0,
                  "save_every": 3, **train},
    }  # fmt: skip
    if name == "cyclegan":
        tiny["method"] = {"pool_size": 2}
    return resolve(merge(read_recipe(name), tiny))


def started(name: str) -> tuple[RunConfig, Method, Optimizers, Runtime]:
    config = settings(name, Path("unused"), Path("unused"))
    torch.manual_seed(0)
    method = make_method(config).train()
    runtime = Runtime("cpu")
    return config, method, make_optimizers(method, config.train, runtime), runtime


def batch(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    a, b = torch.rand(2, 2, 3, 16, 16, generator=generator) * 2 - 1
    return a, b


def weights(method: Method, optimizers: Optimizers) -> dict[str, Tensor]:
    """Every weight, and every average that Adam keeps."""
    kept = {name: weight.detach().clone() for name, weight in method.named_parameters()}
    for player, optimizer in optimizers.items():
        for number, state in optimizer.state_dict()["state"].items():
            kept |= {f"{player}.{number}.{key}": value.clone() for key, value in state.items()}
    return kept


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def finite(method: Method) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in method.state_dict().values())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("value", BAD)
def test_a_bad_image_leaves_no_trace(name: str, side: int, value: float) -> None:
    _, method, optimizers, runtime = started(name)
    watch = GradientStats(runtime.device)
    for step in range(3):
        update(method, [MicroBatch(batch(step))], optimizers, runtime, stats=watch)
        watch.count_step()
    assert watch.first_fault() is None
    before = weights(method, optimizers)
    spoilt = copy.deepcopy(batch(3))
    spoilt[side][1, 2, 3, 4] = value
    losses = update(method, [MicroBatch(spoilt)], optimizers, runtime, stats=watch)
    watch.count_step()
    assert not all(bool(loss.isfinite()) for loss in losses.values())
    assert equal(weights(method, optimizers), before) and finite(method)
    fault = watch.first_fault()
    assert fault is not None and fault.step == 3
    update(method, [MicroBatch(batch(4))], optimizers, runtime, stats=watch)
    watch.count_step()
    assert not equal(weights(method, optimizers), before) and finite(method)
    assert watch.first_fault() == fault  # the first fault is remembered


@pytest.mark.parametrize("name", METHODS)
def test_the_naive_step_is_poisoned(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: an optimizer that steps anyway, and statistics that take everything in."""
    _, method, optimizers, runtime = started(name)
    update(method, [MicroBatch(batch(0))], optimizers, runtime)
    monkeypatch.setattr(Runtime, "step", lambda self, optimizer, sound: optimizer.step())
    spoilt = copy.deepcopy(batch(1))
    spoilt[0][0, 0, 0, 0] = float("nan")
    update(method, [MicroBatch(spoilt)], optimizers, runtime)
    assert not all(bool(weight.isfinite().all()) for weight in method.parameters())
    norm = BatchNorm(3)
    norm.running_mean[0] = float("nan")  # as torch's own would have it, and keep it
    norm(torch.randn(2, 3, 4, 4))
    assert norm.running_mean.isfinite().tolist() == [False, True, True]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_bad_gradient_stops_its_own_player_alone(name: str, player: str) -> None:
    _, method, optimizers, runtime = started(name)
    watch = GradientStats(runtime.device)
    update(method, [MicroBatch(batch(0))], optimizers, runtime, stats=watch)
    watch.count_step()
    before = weights(method, optimizers)
    weight = next(method.players()[player][0].parameters())
    handle = weight.register_hook(lambda gradient: gradient * float("inf"))
    losses = update(method, [MicroBatch(batch(1))], optimizers, runtime, stats=watch)
    watch.count_step()
    handle.remove()
    assert all(bool(loss.isfinite()) for loss in losses.values())  # no loss tells of it
    after = weights(method, optimizers)
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    mine = {f"{part}." for part in _names(method, player)} | {f"{player}."}
    assert moved and not any(key.startswith(tuple(mine)) for key in moved)
    assert watch.first_fault() == Fault(player, 1)


def _names(method: Method, player: str) -> list[str]:
    names = {id(module): name for name, module in method.named_children()}
    return [names[id(network)] for network in method.players()[player]]


def test_accumulated_gradients_are_skipped_whole() -> None:
    _, method, optimizers, runtime = started("pix2pix")
    update(method, [MicroBatch(batch(0))], optimizers, runtime)
    before = weights(method, optimizers)
    spoilt = copy.deepcopy(batch(1))
    spoilt[0][0, 0, 0, 0] = float("nan")
    group = [MicroBatch(spoilt, 0.5), MicroBatch(batch(2), 0.5)]
    update(method, group, optimizers, runtime)
    assert equal(weights(method, optimizers), before)


# -- a whole run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_pairs(tmp_path / "data", 8, 16)


@pytest.mark.parametrize("name", METHODS)
def test_a_run_stops_at_the_next_line_and_names_what_it_was(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, at = ImageDataset.batch, (2, 1)  # the second batch of the second epoch: step 10 of 24

    def spoilt(self: ImageDataset, places: Any, *rest: Any) -> Any:
        made = real(self, places, *rest)
        if made is not None and tuple(places[0]) == at:
            made[0][:] = float("nan")
        return made

    monkeypatch.setattr(ImageDataset, "batch", spoilt)
    run = training.Run(settings(name, data, tmp_path / "run"))
    named = run.data.train.names(*at)
    with pytest.raises(UserError) as caught:
        training.train_run(run)
    said = str(caught.value)
    assert "epoch 2, batch 2" in said and all(file in said for file in named)
    assert "g_ab" in said or "d_b" in said
    assert ("g_l1" if name == "pix2pix" else "g_cycle_a") in said and "\n" not in said
    assert run.progress.images == 12  # when the next line is due
    files = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert [int(path.stem) for path in files] == [3, 6, 9]  # nothing since is the newest
    for path in files:
        tensors = load_state(path)["method"].values()
        assert all(bool(tensor.isfinite().all()) for tensor in tensors)
    assert finite(run.method)


def test_a_fault_is_found_before_a_checkpoint_too(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ImageDataset.batch

    def spoilt(self: ImageDataset, places: Any, *rest: Any) -> Any:
        made = real(self, places, *rest)
        if made is not None and self.training and tuple(places[0]) == (1, 4):
            made[1][:] = float("inf")
        return made

    monkeypatch.setattr(ImageDataset, "batch", spoilt)
    with pytest.raises(UserError, match="not finite"):
        training.train(settings("pix2pix", data, tmp_path / "run", log_every=1000))
    names = [int(path.stem) for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert names == [3]


# -- memory


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shape '[2]' is invalid"), False),
        (ValueError("x"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: Exception, is_it: bool) -> None:
    assert out_of_memory(error) == is_it


@pytest.mark.parametrize(
    ("more", "advice"),
    [
        ({"batch_size": 4}, "--train.batch_size 2 --train.accumulation_steps 2"),
        ({"batch_size": 1}, "--data.crop_size 8"),
    ],
)
def test_out_of_memory_names_what_would_fit(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, int], advice: str
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(training_step, "update", full)
    with pytest.raises(UserError, match="out of memory") as caught:
        training.train(settings("pix2pix", data, tmp_path / "run", **more))
    assert advice in str(caught.value) and "16x16" in str(caught.value)
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_an_error_that_no_setting_mends_is_shown_as_it_is(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(training_step, "update", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        training.train(settings("pix2pix", data, tmp_path / "run"))


def test_what_cannot_be_deterministic_is_a_sentence() -> None:
    runtime = Runtime("cpu", deterministic=True)
    error = RuntimeError(
        "reflection_pad2d_backward_cuda does not have a deterministic implementation, but you set"
    )
    said = str(runtime.explain(error))
    assert "train.deterministic" in said and "reflection_pad2d_backward_cuda" in said
    assert runtime.explain(RuntimeError("other")).args == ("other",)
    torch.use_deterministic_algorithms(False)
