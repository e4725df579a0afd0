"""CUDA graphs of training steps: same losses with CUDA, plain steps without."""

from __future__ import annotations

import pytest
import torch
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
from torch import Tensor, nn

from viceversa.batch import Batch
from viceversa.config.speed import SpeedConfig
from viceversa.config.train import TrainConfig
from viceversa.runtime import cuda_graph
from viceversa.runtime.cuda_graph import GraphedStep
from viceversa.runtime.distributed import Ranks
from viceversa.runtime.training import Runtime
from viceversa.training.gradients import Fault, GradientStats
from viceversa.training.setup import set_learning_rates
from viceversa.training.step import MicroBatch, update

GRAPH = only(cuda_graph="auto")


def test_without_cuda_the_step_is_returned_unchanged() -> None:
    messages: list[str] = []

    def step(batch: Batch) -> dict[str, Tensor]:
        return {"sum": batch[0].sum() + batch[1].sum()}

    for speed in (SpeedConfig(), OFF, only(cuda_graph="auto", activation_checkpointing="blocks")):
        assert Runtime("cpu", speed=speed).graphed(step, messages.append) is step
    assert Runtime("cpu", speed=GRAPH, ranks=Ranks(0, 2)).graphed(step, messages.append) is step
    assert messages == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="a graph can be captured here")
def test_a_failed_capture_is_reported_once_and_training_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without warm-up, because warm-up needs a CUDA stream."""
    monkeypatch.setattr(cuda_graph, "WARM_UP", 0)
    messages: list[str] = []
    plain, other = tiny_run("cyclegan"), tiny_run("cyclegan")

    def step(images: Batch) -> dict[str, Tensor]:
        return update(other.method, [MicroBatch(images)], other.optimizers, other.runtime)

    resets: list[int] = []
    graphed = GraphedStep(step, messages.append, lambda: resets.append(1))
    sizes = (2, 2, 1, 2)  # the last batch of an epoch may be smaller
    torch.manual_seed(1)
    expected = [
        update(plain.method, [MicroBatch(batch(number, size))], plain.optimizers, plain.runtime)
        for number, size in enumerate(sizes)
    ]
    torch.manual_seed(1)
    found = [graphed(batch(number, size)) for number, size in enumerate(sizes)]
    assert (
        max_loss_difference(found, expected) == 0.0
        and max_difference(training_state(plain), training_state(other)) == 0.0
    )
    assert len(messages) == len(resets) == 1 and "\n" not in messages[0]
    assert "no CUDA graph is used: the capture failed (" in messages[0]


def test_an_error_of_the_step_itself_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graph, "WARM_UP", 0)

    def failing_step(_: Batch) -> dict[str, Tensor]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        GraphedStep(failing_step, lambda text: None, lambda: None)(batch(0))


class FailingForward:
    """Forward hook of the discriminator that raises at its n-th call."""

    def __init__(self, one: TinyRun, call: int):
        self.remaining = call
        self.hook = one.method.discriminators()["b"].network.register_forward_hook(self)

    def __call__(self, layer: nn.Module, inputs: object, out: list[Tensor]) -> None:
        self.remaining -= 1
        if not self.remaining:
            raise RuntimeError("injected failure")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("call", [1, 3])  # before the first optimizer step; after it
def test_abandon_step_resets_the_gradient_scaler(precision: str, call: int) -> None:
    """A capture that fails in the middle of a step leaves a scaler in an intermediate state."""
    one = tiny_run("pix2pix", OFF, precision)
    train_steps(one, 3)
    before = one.runtime.precision.state_dict()
    failing = FailingForward(one, call)
    with pytest.raises(RuntimeError, match="injected failure"):
        update(one.method, [MicroBatch(batch(3))], one.optimizers, one.runtime)
    failing.hook.remove()
    if precision == "fp16" and call == 3:  # the control
        with pytest.raises(RuntimeError, match="unscale_"):
            update(one.method, [MicroBatch(batch(3))], one.optimizers, one.runtime)
    one.runtime.precision.abandon_step()
    assert one.runtime.precision.state_dict() == before
    losses = update(one.method, [MicroBatch(batch(3))], one.optimizers, one.runtime)
    assert all(bool(loss.isfinite()) for loss in losses.values())


def test_gradient_stats_change_their_tensors_in_place() -> None:
    """A graph writes to the tensors of its capture; it would not update new tensors."""
    stats = GradientStats(torch.device("cpu"))
    good, bad = torch.tensor(True), torch.tensor(False)
    stats.record("generator", good, torch.ones(()))
    first, now = stats._first["generator"], stats._step
    addresses = first.data_ptr(), now.data_ptr()
    stats.count_step()
    stats.record("generator", bad, torch.ones(()))
    stats.count_step()
    stats.record("generator", bad, torch.ones(()))
    assert stats._first["generator"] is first and stats._step is now
    assert (first.data_ptr(), now.data_ptr()) == addresses
    assert int(first) == 1 and int(now) == 2 == stats.steps
    assert stats.first_fault() == Fault("generator", 1)


# -- on a GPU


def train_on_gpu(
    name: str, graph: bool, sizes: list[int], precision: str = "fp32", decay: bool = False
) -> tuple[TinyRun, Losses, list[str]]:
    """Train on the GPU; with `decay`, each step has another learning rate."""
    speed = SpeedConfig(cuda_graph="auto" if graph else "off", memory_format="contiguous")
    own = {"generator": {"dropout": 0.0}, "method": {"pool_size": 0}}
    if name == "pix2pix":
        del own["method"]
    one, messages = tiny_run(name, speed, precision, "cuda", **own), []

    def step(images: Batch) -> dict[str, Tensor]:
        return update(one.method, [MicroBatch(images)], one.optimizers, one.runtime)

    run = one.runtime.graphed(step, messages.append)
    assert isinstance(run, GraphedStep) == graph
    losses: Losses = []
    for number, size in enumerate(sizes):
        if decay:
            set_learning_rates(one.optimizers, TrainConfig(epochs=len(sizes)), 1 + number)
        on_device = batch(number, size).map(torch.Tensor.cuda)
        losses.append({k: v.cpu() for k, v in run(on_device).items()})
    if graph and not messages:
        assert run._graph is not None  # type: ignore[union-attr]
    return one, losses, messages


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_a_graph_has_the_losses_of_plain_steps(name: str, precision: str) -> None:
    sizes = [2] * 8 + [1] + [2] * 11  # the smaller last batch of an epoch runs without the graph
    _, expected, _ = train_on_gpu(name, False, sizes, precision)
    _, found, messages = train_on_gpu(name, True, sizes, precision)
    assert messages == []
    scale = max(float(v) for losses in expected for v in losses.values())
    assert max_loss_difference(found, expected) < scale * (1e-3 if precision == "fp32" else 0.05)
    changes = max_loss_difference(expected[:1], expected[-1:])  # the control
    assert changes > max_loss_difference(found, expected)


@pytest.mark.cuda
def test_a_graph_uses_the_current_learning_rate() -> None:
    states = []
    for decay in (False, True):
        one, _, _ = train_on_gpu("pix2pix", True, [2] * 8, decay=decay)
        states.append(training_state(one))
    one, _, _ = train_on_gpu("pix2pix", False, [2] * 8, decay=True)
    assert (
        max_difference(states[1], training_state(one))
        < max_difference(states[0], training_state(one)) / 2
    )


@pytest.mark.cuda
def test_a_graph_draws_new_random_numbers_each_time() -> None:
    one = tiny_run(
        "pix2pix", SpeedConfig(memory_format="contiguous"), "fp32", "cuda", train={"lr": 0.0}
    )

    def step(images: Batch) -> dict[str, Tensor]:
        return update(one.method, [MicroBatch(images)], one.optimizers, one.runtime)

    run = one.runtime.graphed(step, lambda text: None)
    one_batch = batch(0).map(torch.Tensor.cuda)
    losses = {float(run(one_batch)["g_l1"]) for _ in range(8)}
    assert len(losses) == 8  # with lr 0, only dropout differs


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("call", [1, 3])
def test_training_continues_after_a_failed_capture(precision: str, call: int) -> None:
    """A hook copies a value to the host during the capture, which CUDA forbids."""
    one, messages = (
        tiny_run("pix2pix", SpeedConfig(memory_format="contiguous"), precision, "cuda"),
        [],
    )

    def step(images: Batch) -> dict[str, Tensor]:
        return update(one.method, [MicroBatch(images)], one.optimizers, one.runtime)

    run = one.runtime.graphed(step, messages.append)
    calls = [0]

    def read_value(layer: nn.Module, inputs: object, out: list[Tensor]) -> None:
        calls[0] += 1
        if torch.cuda.is_current_stream_capturing() and calls[0] % 3 == call % 3:
            float(out[0].sum())

    one.method.discriminators()["b"].network.register_forward_hook(read_value)
    stream = torch.cuda.current_stream()
    before = training_state(one)
    for number in range(10):
        losses = run(batch(number).map(torch.Tensor.cuda))
        assert all(bool(loss.isfinite()) for loss in losses.values())
    assert len(messages) == 1 and "no CUDA graph is used" in messages[0]
    assert torch.cuda.current_stream() == stream
    assert not all(
        torch.equal(value, before[name])
        for name, value in training_state(one).items()
        if name in before
    )


@pytest.mark.cuda
def test_options_without_graph_support_are_reported() -> None:
    messages: list[str] = []

    def step(images: Batch) -> dict[str, Tensor]:
        return {}

    assert Runtime("cuda", speed=only(cuda_graph="off")).graphed(step, messages.append) is step
    assert messages == []
    checkpointing = Runtime(
        "cuda", speed=only(cuda_graph="auto", activation_checkpointing="blocks")
    )
    assert checkpointing.graphed(step, messages.append) is step
    several = Runtime("cuda:0", speed=GRAPH, ranks=Ranks(0, 2))
    assert several.graphed(step, messages.append) is step
    assert "speed.activation_checkpointing blocks" in messages[0]
    assert "several processes" in messages[1]
