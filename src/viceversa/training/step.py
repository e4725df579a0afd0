"""One optimizer step of any method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from ..batch import Batch
from .buffers import buffers_unchanged

if TYPE_CHECKING:
    from ..methods.base import Losses, Method, Turn
    from ..runtime.training import Runtime
    from .gradients import GradientStats

Optimizers = dict[str, torch.optim.Optimizer]  # by player


class MicroBatch(NamedTuple):
    """Images of both domains, and their weight in the losses of an optimizer step.

    The weights of all micro-batches of all processes add up to 1. A weight of 0 marks the
    placeholder of a process that has no image: it computes like the others and changes nothing.
    """

    images: Batch
    weight: float = 1.0


def update(
    method: Method,
    micro_batches: Sequence[MicroBatch],
    optimizers: Optimizers,
    runtime: Runtime,
    grad_clip: float = 0.0,
    stats: GradientStats | None = None,
) -> Losses:
    """Take one optimizer step of every player.

    Every micro-batch runs the whole step of the method. At each turn, the losses are minimized over
    the weights of that player alone. Gradients add up over the micro-batches and the processes; at
    its turn in the last micro-batch, each player's optimizer steps. A player with non-finite
    gradients keeps its weights and the state of its optimizer.

    Args:
        method: The method, in training mode.
        micro_batches: At least one; (n, channels, h, w) each, on the device.
        optimizers: The optimizer of each player.
        runtime: Device, precision, and processes.
        grad_clip: Maximum norm of a player's gradient; 0: no limit.
        stats: Records which steps were finite, and the norms of the gradients.

    Returns:
        The losses, averaged over micro-batches and processes; scalars on the device.
    """
    sums: Losses = {}
    for number, (images, weight) in enumerate(micro_batches):
        first, last = number == 0, number == len(micro_batches) - 1
        with nullcontext() if weight else buffers_unchanged(method):
            for player, losses in turns(method, runtime.format_batch(images), runtime):
                for name, loss in losses.items():
                    part = loss.detach() * weight
                    sums[name] = part if name not in sums else sums[name] + part
                if player is None:
                    continue
                optimizer = optimizers[player]
                if first:
                    optimizer.zero_grad(set_to_none=True)
                backward(torch.stack(list(losses.values())).sum() * weight, optimizer, runtime)
                if last:
                    step_player(player, optimizer, runtime, grad_clip, stats)
    runtime.precision.update_scale()
    runtime.ranks.all_reduce(list(sums.values()))
    return sums


def turns(method: Method, batch: Batch, runtime: Runtime) -> Iterator[Turn]:
    """Advance the step of a method; autocast is entered at each advance, never held open."""
    steps = method.step(batch)
    while True:
        with runtime.autocast():
            turn = next(steps, None)
        if turn is None:
            return
        yield turn


def backward(loss: Tensor, optimizer: torch.optim.Optimizer, runtime: Runtime) -> None:
    """Add the gradient of a loss over the weights of one optimizer."""
    # 1 for a finite loss, else NaN: a NaN loss must make every gradient NaN, also that of an
    # absolute difference, which would be 0.
    seed = loss.detach() * 0 + 1
    scaled = runtime.precision.scale(loss)
    scaled.backward(seed, inputs=parameters(optimizer))  # type: ignore[no-untyped-call]


def step_player(
    player: str,
    optimizer: torch.optim.Optimizer,
    runtime: Runtime,
    grad_clip: float,
    stats: GradientStats | None,
) -> None:
    """Let one optimizer step, unless its gradient is not finite."""
    runtime.reduce_gradients(optimizer)
    weights = parameters(optimizer)
    norm = nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
    if grad_clip:
        nn.utils.clip_grads_with_norm_(weights, grad_clip, norm)
    finite = norm.isfinite()
    runtime.step(optimizer, finite)
    if stats is not None:
        overflow = runtime.precision.may_overflow()
        stats.record(player, finite | overflow, torch.where(finite, norm, 0.0))


def parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return the weights that an optimizer updates."""
    return list(chain.from_iterable(group["params"] for group in optimizer.param_groups))


def updater(
    method: Method,
    optimizers: Optimizers,
    runtime: Runtime,
    grad_clip: float,
    stats: GradientStats,
    report: Callable[[str], None],
) -> Callable[[Sequence[MicroBatch]], Losses]:
    """Return `update` as a function of the micro-batches, run as one CUDA graph if possible.

    Only a step of one whole batch can be a graph.
    """

    def eager(micro_batches: Sequence[MicroBatch]) -> Losses:
        return update(method, micro_batches, optimizers, runtime, grad_clip, stats)

    graphed = runtime.graphed(lambda images: eager([MicroBatch(images)]), report)

    def step(micro_batches: Sequence[MicroBatch]) -> Losses:
        whole = len(micro_batches) == 1 and micro_batches[0].weight == 1
        losses = graphed(micro_batches[0].images) if whole else eager(micro_batches)
        stats.count_step()
        return losses

    return step
