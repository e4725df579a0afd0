"""A step as a CUDA graph: what becomes of it without CUDA, and that it is the same with it.

The tests that need a GPU are skipped elsewhere.
"""

from __future__ import annotations

import pytest
import torch
from tiny import METHODS, OFF, Losses, Made, apart, batch, farthest, left, made, only, steps
from torch import Tensor, nn

from viceversa.config.speed import SpeedConfig
from viceversa.config.train import TrainConfig
from viceversa.methods.base import Batch
from viceversa.runtime import cuda_graph
from viceversa.runtime.cuda_graph import GraphedStep
from viceversa.runtime.distributed import Ranks
from viceversa.runtime.training import Runtime
from viceversa.training.gradients import Fault, GradientStats
from viceversa.training.setup import set_learning_rates
from viceversa.training.step import MicroBatch, update

GRAPH = only(cuda_graph="auto")


def test_without_cuda_a_step_stays_as_it_is() -> None:
    said: list[str] = []

    def step(batch: Batch) -> dict[str, Tensor]:
        return {"sum": batch[0].sum() + batch[1].sum()}

    for speed in (SpeedConfig(), OFF, only(cuda_graph="auto", activation_checkpointing="blocks")):
        assert Runtime("cpu", speed=speed).graphed(step, said.append) is step
    assert Runtime("cpu", speed=GRAPH, ranks=Ranks(0, 2)).graphed(step, said.append) is step
    assert said == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="here a graph can be made")
def test_a_graph_that_cannot_be_made_is_explained_once_and_steps_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without warm-up, since that needs a stream of CUDA already."""
    monkeypatch.setattr(cuda_graph, "WARM_UP", 0)
    said: list[str] = []
    plain, other = made("cyclegan"), made("cyclegan")

    def step(shown: Batch) -> dict[str, Tensor]:
        return update(other.method, [MicroBatch(shown)], other.optimizers, other.runtime)

    forgotten: list[int] = []
    graphed = GraphedStep(step, said.append, lambda: forgotten.append(1))
    sizes = (2, 2, 1, 2)  # a smaller one among them
    torch.manual_seed(1)
    expected = [
        update(plain.method, [MicroBatch(batch(number, size))], plain.optimizers, plain.runtime)
        for number, size in enumerate(sizes)
    ]
    torch.manual_seed(1)
    found = [graphed(batch(number, size)) for number, size in enumerate(sizes)]
    assert apart(found, expected) == 0.0 and farthest(left(plain), left(other)) == 0.0
    assert len(said) == len(forgotten) == 1 and "\n" not in said[0]
    assert "no CUDA graph is used: the capture failed (" in said[0]


def test_an_error_of_the_step_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes again when the step is run as it is."""
    monkeypatch.setattr(cuda_graph, "WARM_UP", 0)

    def broken(_: Batch) -> dict[str, Tensor]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        GraphedStep(broken, lambda text: None, lambda: None)(batch(0))


class Break:
    """Lets a judge fail at its n-th call: in a graph that is when the host asks for a value."""

    def __init__(self, one: Made, call: int):
        self.left = call
        self.hook = one.method.discriminators()["b"].network.register_forward_hook(self)

    def __call__(self, layer: nn.Module, inputs: object, out: list[Tensor]) -> None:
        self.left -= 1
        if not self.left:
            raise RuntimeError("in the middle")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("call", [1, 3])  # before any player has stepped; after one has
def test_a_step_that_broke_off_is_forgotten(precision: str, call: int) -> None:
    """As after a capture that fails in the middle of a step; here on a processor.

    A captured step changes no number, but it leaves a scaler that has seen half of it.
    """
    one = made("pix2pix", OFF, precision)
    steps(one, 3)
    before = one.runtime.precision.state_dict()
    breaking = Break(one, call)
    with pytest.raises(RuntimeError, match="in the middle"):
        update(one.method, [MicroBatch(batch(3))], one.optimizers, one.runtime)
    breaking.hook.remove()
    if precision == "fp16" and call == 3:  # the control
        with pytest.raises(RuntimeError, match="unscale_"):
            update(one.method, [MicroBatch(batch(3))], one.optimizers, one.runtime)
    one.runtime.precision.abandon_step()
    assert one.runtime.precision.state_dict() == before
    losses = update(one.method, [MicroBatch(batch(3))], one.optimizers, one.runtime)
    assert all(bool(loss.isfinite()) for loss in losses.values())


def test_the_watch_changes_its_tensors_in_place() -> None:
    """A captured step writes where it did when it was captured: a new tensor would be missed."""
    watch = GradientStats(torch.device("cpu"))
    good, bad = torch.tensor(True), torch.tensor(False)
    watch.record("generator", good, torch.ones(()))
    first, now = watch._first["generator"], watch._step
    places = first.data_ptr(), now.data_ptr()
    watch.count_step()
    watch.record("generator", bad, torch.ones(()))
    watch.count_step()
    watch.record("generator", bad, torch.ones(()))
    assert watch._first["generator"] is first and watch._step is now
    assert (first.data_ptr(), now.data_ptr()) == places
    assert int(first) == 1 and int(now) == 2 == watch.steps
    assert watch.first_fault() == Fault("generator", 1)


# -- on a GPU


def trained(
    name: str, graph: bool, sizes: list[int], precision: str = "fp32", rates: bool = False
) -> tuple[Made, Losses, list[str]]:
    """Steps of a method on the GPU; with `rates`, each at another one."""
    speed = SpeedConfig(cuda_graph="auto" if graph else "off", memory_format="contiguous")
    own = {"generator": {"dropout": 0.0}, "method": {"pool_size": 0}}
    if name == "pix2pix":
        del own["method"]
    one, said = made(name, speed, precision, "cuda", **own), []

    def step(shown: Batch) -> dict[str, Tensor]:
        return update(one.method, [MicroBatch(shown)], one.optimizers, one.runtime)

    run = one.runtime.graphed(step, said.append)
    assert isinstance(run, GraphedStep) == graph
    losses: Losses = []
    for number, size in enumerate(sizes):
        if rates:
            set_learning_rates(one.optimizers, TrainConfig(epochs=len(sizes)), 1 + number)
        a, b = batch(number, size)
        losses.append({k: v.cpu() for k, v in run((a.cuda(), b.cuda())).items()})
    if graph and not said:
        assert run._graph is not None  # type: ignore[union-attr]
    return one, losses, said


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_a_graph_has_the_losses_of_the_steps_it_stands_for(name: str, precision: str) -> None:
    sizes = [2] * 8 + [1] + [2] * 11  # the last batch of an epoch is smaller, and runs as it is
    _, expected, _ = trained(name, False, sizes, precision)
    _, found, said = trained(name, True, sizes, precision)
    assert said == []
    scale = max(float(v) for losses in expected for v in losses.values())
    assert apart(found, expected) < scale * (1e-3 if precision == "fp32" else 0.05)
    changes = apart(expected[:1], expected[-1:])  # the control: losses move by more than that
    assert changes > apart(found, expected)


@pytest.mark.cuda
def test_a_graph_sees_another_rate() -> None:
    moved = []
    for rates in (False, True):
        one, _, _ = trained("pix2pix", True, [2] * 8, rates=rates)
        moved.append(left(one))
    one, _, _ = trained("pix2pix", False, [2] * 8, rates=True)
    assert farthest(moved[1], left(one)) < farthest(moved[0], left(one)) / 2


@pytest.mark.cuda
def test_a_graph_draws_new_random_numbers_each_time() -> None:
    one = made("pix2pix", SpeedConfig(memory_format="contiguous"), "fp32", "cuda",
               train={"lr": 0.0})  # fmt: skip

    def step(shown: Batch) -> dict[str, Tensor]:
        return update(one.method, [MicroBatch(shown)], one.optimizers, one.runtime)

    run = one.runtime.graphed(step, lambda text: None)
    a, b = (x.cuda() for x in batch(0))
    seen = {float(run((a, b))["g_l1"]) for _ in range(8)}
    assert len(seen) == 8  # weights stand still: only the dropout differs


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("call", [1, 3])
def test_a_capture_that_fails_leaves_steps_that_go_on(precision: str, call: int) -> None:
    """A judge whose every value the host asks for in one call; dropout is on."""
    one, said = made("pix2pix", SpeedConfig(memory_format="contiguous"), precision, "cuda"), []

    def step(shown: Batch) -> dict[str, Tensor]:
        return update(one.method, [MicroBatch(shown)], one.optimizers, one.runtime)

    run = one.runtime.graphed(step, said.append)
    calls = [0]

    def ask(layer: nn.Module, inputs: object, out: list[Tensor]) -> None:
        calls[0] += 1
        if torch.cuda.is_current_stream_capturing() and calls[0] % 3 == call % 3:
            float(out[0].sum())

    one.method.discriminators()["b"].network.register_forward_hook(ask)
    stream = torch.cuda.current_stream()
    before = left(one)
    for number in range(10):
        a, b = batch(number)
        losses = run((a.cuda(), b.cuda()))
        assert all(bool(loss.isfinite()) for loss in losses.values())
    assert len(said) == 1 and "no CUDA graph is used" in said[0]
    assert torch.cuda.current_stream() == stream
    assert not all(torch.equal(value, before[name]) for name, value in left(one).items()
                   if name in before)  # fmt: skip


@pytest.mark.cuda
def test_what_does_not_go_with_a_graph_is_said() -> None:
    said: list[str] = []

    def step(shown: Batch) -> dict[str, Tensor]:
        return {}

    assert Runtime("cuda", speed=only(cuda_graph="off")).graphed(step, said.append) is step
    assert said == []
    anew = Runtime("cuda", speed=only(cuda_graph="auto", activation_checkpointing="blocks"))
    assert anew.graphed(step, said.append) is step
    several = Runtime("cuda:0", speed=GRAPH, ranks=Ranks(0, 2))
    assert several.graphed(step, said.append) is step
    assert ["speed.activation_checkpointing blocks" in said[0], "several processes" in said[1]] == [
        True,
        True,
    ]
