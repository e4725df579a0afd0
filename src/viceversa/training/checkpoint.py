"""State of a run in its checkpoints."""

from __future__ import annotations

from typing import Any

import torch

from ..config.run import RunConfig
from ..data.open import Datasets
from ..errors import UserError
from ..fields import plain
from ..methods.base import Method
from ..runtime.random_state import random_state, restore_random_state
from ..runtime.training import Runtime
from .progress import Progress
from .step import Optimizers

State = dict[str, Any]


def run_state(
    config: RunConfig,
    data: Datasets,
    method: Method,
    optimizers: Optimizers,
    progress: Progress,
    log: State,
    runtime: Runtime,
    monitor: State,
) -> State:
    """Return everything that resuming needs, and nothing that can be derived.

    The order of the images, their augmentation and the learning rate follow from settings, seed
    and progress. With several processes, rank 0 has the state of all: `others` is what differs in
    each other process.
    """
    own = {} if runtime.ranks.first else _own_state(method)
    held_out = data.held_out.contents.state if data.held_out is not None else {}
    return {
        "sections": config.sections,
        "domains": {name: plain(domain) for name, domain in data.train.domains.items()},
        "data": data.train.names_hash(),
        "contents": {
            "path": config.data.location,
            "split": data.split,
            "train": data.train.contents.state,
            "held_out": held_out,
        },
        "epoch": progress.epoch,
        "batch": progress.batch,
        "images": progress.images,
        "method": method.state_dict(),
        "optimizers": {name: _adam_state(optimizer) for name, optimizer in optimizers.items()},
        "random": random_state(),
        "log": log,
        "runtime": {"format": runtime.memory_format, "scaler": runtime.precision.state_dict()},
        "others": runtime.ranks.gather(own)[1:],
        "monitor": monitor,
    }


def restore(state: State, method: Method, optimizers: Optimizers, runtime: Runtime) -> Progress:
    """Restore a method, its optimizers and the random numbers; return the progress.

    A process that did not exist at the checkpoint starts with the image pools of rank 0.

    Raises:
        UserError: The state is intact, but not one of such a run.
    """
    own, index = state, runtime.ranks.index
    try:
        if known := 0 < index <= len(state["others"]):
            own = state["others"][index - 1]
        method.load_state_dict(state["method"] | (own["buffers"] if known else {}))
        for name, optimizer in optimizers.items():
            moments = {int(number): kept for number, kept in state["optimizers"][name].items()}
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": groups})
            _match_memory_format(optimizer)
        restore_random_state(own["random"])
        if not known:
            runtime.ranks.offset_seed()
        runtime.precision.load_state_dict(state["runtime"]["scaler"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"the checkpoint does not match this run: {reason}") from None
    return Progress(state["epoch"], state["batch"], state["images"])


def _own_state(method: Method) -> State:
    """State that each process has for itself: image pools and random numbers."""
    return {"buffers": dict(method.named_buffers()), "random": random_state()}


def _adam_state(optimizer: torch.optim.Optimizer) -> State:
    """Adam's moments by the number of the weight; learning rates and betas are settings."""
    return {str(number): kept for number, kept in optimizer.state_dict()["state"].items()}


def _match_memory_format(optimizer: torch.optim.Optimizer) -> None:
    """Give Adam's moments the memory format of their weights, which the fused kernel needs."""
    for weight, kept in optimizer.state.items():
        for name, value in kept.items():
            if value.shape == weight.shape and value.stride() != weight.stride():
                kept[name] = torch.empty_like(weight).copy_(value)
