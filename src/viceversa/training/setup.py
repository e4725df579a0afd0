"""Data of a run; optimizers, learning rates, memory format and compilation of its method."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ..checkpoint import Checkpoints
from ..config.run import RunConfig, with_precision
from ..config.speed import PrecisionName
from ..config.train import TrainConfig
from ..data.open import Datasets, open_data
from ..data.open_user import UserData, open_user_data
from ..errors import UserError
from ..evaluation import features
from ..evaluation.features import PerceptualFeatures
from ..fields import nested
from ..methods.base import Method
from ..runtime.distributed import Ranks
from ..runtime.training import Runtime
from ..terminal import counter
from .schedules import SCHEDULES
from .step import Optimizers


def open_runtime(
    config: RunConfig, checkpoints: Checkpoints, ranks: Ranks, report: Callable[[str], None]
) -> tuple[Runtime, RunConfig]:
    """Prepare the device, and replace `train.precision auto` in the settings.

    A run that is resumed keeps the precision in its newest checkpoint, on any machine.

    Args:
        config: The settings.
        checkpoints: The checkpoints of the run.
        ranks: The processes of the run.
        report: Called with a sentence about the chosen precision.

    Raises:
        UserError: The device is not available, or does not support the precision.
    """

    if config.train.precision == "auto":
        stored = nested(checkpoints.settings(), "train") if ranks.first else {}
        name: Any = ranks.broadcast(stored.get("precision"))
        if name in get_args(PrecisionName):
            report(f"train.precision auto: {name}, as in {checkpoints.folder}")
            config = with_precision(config, name)
    train = config.train
    runtime = Runtime(train.device, train.precision, train.deterministic, config.speed, ranks)
    if runtime.precision_reason:
        name = runtime.precision.name
        report(f"train.precision auto: {name}, since {runtime.precision_reason}")
        config = with_precision(config, name)
    return runtime, config


def open_run_data(
    config: RunConfig,
    folder: Path,
    ranks: Ranks,
    note: Callable[[str], None],
    user: UserData | None = None,
) -> Datasets:
    """Open the datasets of a user, or the files of the settings. Raises UserError."""
    data, paired, seed = config.data, config.paired, config.train.seed
    pairs = config.validate.pairs and not paired
    if user is not None:
        return open_user_data(user, data, paired, seed, note, pairs)
    with ranks.first_rank_first(), counter("checking the images") as progress:
        return open_data(data, paired, seed, folder, note, progress, pairs)


def trained_networks(method: Method) -> list[nn.Module]:
    """Return all networks that are optimized."""
    return list(chain.from_iterable(method.players().values()))


def load_feature_networks(method: Method, config: RunConfig, device: torch.device) -> None:
    """Load the frozen networks that losses need. Raises UserError if one is not available."""
    folder = Path(config.validate.features) if config.validate.features else None
    method.feature_networks = {
        name: PerceptualFeatures(features.load(name, folder)[0]).to(device)
        for name in method.needed_features()
    }


def check_best_metric(method: Method, config: RunConfig) -> None:
    """Raise UserError if the cycle error selects the best model, and the method has no cycle."""
    if config.validate.best_metric == "cycle" and len(method.translators()) < 2:
        raise UserError(
            f"validate.best_metric cycle needs both directions, and {config.name('method')} "
            "translates in one; name swd or kid",
            option="validate.best_metric",
        )


def make_optimizers(method: Method, config: TrainConfig, runtime: Runtime) -> Optimizers:
    """Return Adam for each player, with its own learning rate.

    Raises:
        UserError: `train.lr_per_network` names an unknown player.
    """
    players = method.players()
    for name in config.lr_per_network:
        if name not in players:
            raise UserError(
                f"train.lr_per_network has {name!r}, which is none of {', '.join(players)}",
                option="train.lr_per_network",
            )
    return {
        player: runtime.optimizer(
            list(chain.from_iterable(network.parameters() for network in networks)),
            config.lr_per_network.get(player, config.lr),
            config.betas,
        )
        for player, networks in players.items()
    }


def set_learning_rates(optimizers: Optimizers, config: TrainConfig, epoch: int) -> float:
    """Set the learning rates of an epoch (from 1); return that of `train.lr`."""
    decay_epochs = round(config.decay * config.epochs)
    factor = SCHEDULES[config.schedule](epoch, config.epochs, decay_epochs)
    for player, optimizer in optimizers.items():
        for group in optimizer.param_groups:
            lr = config.lr_per_network.get(player, config.lr) * factor
            if isinstance(group["lr"], Tensor):  # on a GPU, where a captured step reads it
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
    return config.lr * factor


def steps_taken(optimizers: Optimizers) -> int:
    """Return the steps of the player that has taken most, as its optimizer has counted them."""
    states = (state for optimizer in optimizers.values() for state in optimizer.state.values())
    return max((int(state["step"]) for state in states), default=0)


def choose_formats(
    method: Method,
    runtime: Runtime,
    images: Callable[[], Tensor],
    report: Callable[[str], None],
    previous: str | None = None,
) -> None:
    """Choose the memory format and compile the networks.

    Args:
        method: The method, on its device.
        runtime: Device and speed options.
        images: Returns a batch of sources, to measure the memory format with.
        report: Gets a message if the format is not the default.
        previous: The memory format of the run that is resumed.
    """
    network = next(iter(method.translators().values()))
    chosen = runtime.choose_memory_format(method, network, images, previous)
    if chosen != "contiguous":
        report(f"memory format of images: {chosen}")
    objective = method.objective
    twice = objective is not None and objective.differentiated_twice
    eager = [one.network for one in method.discriminators().values()] if twice else []
    runtime.compile(trained_networks(method), eager)
