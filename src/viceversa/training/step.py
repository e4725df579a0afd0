"""One step of any method, and the optimizers that take it."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn

from ..config.train import TrainConfig
from ..errors import UserError
from ..methods.base import Batch, Method
from ..runtime.training import Runtime
from .diagnostics import Watch
from .schedules import SCHEDULES

Optimizers = dict[str, torch.optim.Optimizer]


def update(
    method: Method,
    batch: tuple[Tensor, Tensor],
    optimizers: Optimizers,
    runtime: Runtime,
    clip: float = 0.0,
    first: bool = True,
    last: bool = True,
    share: float = 1.0,
    watch: Watch | None = None,
    weight: float = 1.0,
) -> dict[str, Tensor]:
    """One step of any method on one batch; the losses come back detached, still on the device.

    At each turn the method takes, its losses are minimised over that player's weights alone. Of
    several micro-batches, gradients add up from the `first`, each with its `share`, and players
    step at the `last` (earlier ones see the other player as it was). Of a batch that several
    processes share, `weight` is this one's part. A player whose gradient is not finite keeps its
    weights and its averages; `watch` remembers it.
    """
    seen: dict[str, Tensor] = {}
    turns = method.step(Batch(*runtime.format_batch(batch)))
    players = method.players()
    while True:
        with runtime.autocast():
            turn = next(turns, None)
        if turn is None:
            break
        player, losses = turn
        seen |= {name: loss.detach() * weight for name, loss in losses.items()}
        if player is None:
            continue
        weights = list(chain.from_iterable(network.parameters() for network in players[player]))
        if first:
            optimizers[player].zero_grad(set_to_none=True)
        total = torch.stack(list(losses.values())).sum() * (share * weight)
        # 1 where the loss is finite; else not a number, and so is then every gradient, even that of
        # an absolute difference, which would be 0 and hide it.
        seed = total.detach() * 0 + 1
        runtime.precision.scale(total).backward(seed, inputs=weights)  # type: ignore[no-untyped-call]
        if last:
            _step(player, weights, optimizers[player], runtime, clip, watch)
    if last:
        runtime.precision.update_scale()
    runtime.ranks.all_reduce(list(seen.values()))
    return seen


def step_players(
    method: Method, optimizers: Optimizers, runtime: Runtime, clip: float = 0.0,
    watch: Watch | None = None,
) -> None:  # fmt: skip
    """Let every player step with the gradients that it has: of a group whose last batch is bad."""
    for player, networks in method.players().items():
        weights = list(chain.from_iterable(network.parameters() for network in networks))
        _step(player, weights, optimizers[player], runtime, clip, watch)
    runtime.precision.update_scale()


def _step(
    player: str, weights: list[nn.Parameter], optimizer: torch.optim.Optimizer, runtime: Runtime,
    clip: float, watch: Watch | None,
) -> None:  # fmt: skip
    """One player's step, unless its gradient is not finite."""
    runtime.reduce_gradients(optimizer)
    norm = nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
    if clip:
        nn.utils.clip_grads_with_norm_(weights, clip, norm)
    sound = norm.isfinite()
    runtime.step(optimizer, sound)
    if watch is not None:
        watch.note(player, sound | runtime.precision.may_overflow(), torch.where(sound, norm, 0.0))


def make_optimizers(method: Method, config: TrainConfig, runtime: Runtime) -> Optimizers:
    """Adam for each player, at its own rate. Raises UserError for a player there is not."""
    players = method.players()
    for name in config.lr_per_network:
        if name not in players:
            raise UserError(
                f"train.lr_per_network has {name!r}; the players are {', '.join(players)}"
            )
    return {
        player: runtime.optimizer(
            list(chain.from_iterable(network.parameters() for network in networks)),
            config.lr_per_network.get(player, config.lr),
            config.betas,
        )
        for player, networks in players.items()
    }


def set_rates(optimizers: Optimizers, config: TrainConfig, epoch: int) -> float:
    """Each player's rate for an epoch (from 1); returns that of `train.lr`."""
    decay_epochs = round(config.decay * config.epochs)
    factor = SCHEDULES[config.schedule](epoch, config.epochs, decay_epochs)
    for player, optimizer in optimizers.items():
        for group in optimizer.param_groups:
            rate = config.lr_per_network.get(player, config.lr) * factor
            if isinstance(group["lr"], Tensor):  # on a GPU, where a captured step reads it
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
    return config.lr * factor
