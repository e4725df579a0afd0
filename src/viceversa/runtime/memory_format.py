"""Memory format of images and weights: contiguous or channels_last, the faster one by a test."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from .device import synchronized_time

Autocast = Callable[[], AbstractContextManager[None]]
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PASSES = 3  # timed passes of each format, in turn
CLEARLY = 0.95  # channels_last has to take less than this fraction of the time


def faster_format(network: nn.Module, images: Tensor, autocast: Autocast) -> str:
    """Return the memory format in which a forward and backward pass of a network is faster.

    Copies of the network are timed, so that no buffer, gradient or random number changes.

    Args:
        network: The network to time.
        images: Its input, (n, channels, height, width).
        autocast: Returns the autocast to compute in.
    """
    candidates = {
        name: (
            copy.deepcopy(network).to(memory_format=layout),  # type: ignore[call-overload]
            to_format(images, name),
        )
        for name, layout in FORMATS.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    with torch.random.fork_rng():
        for turn in range(PASSES + 1):
            for name, (copied, batch) in candidates.items():
                taken = _time_pass(copied, batch, autocast)
                if turn:  # the first one warms up
                    seconds[name].append(taken)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    clearly = medians["channels_last"] < CLEARLY * medians["contiguous"]
    return "channels_last" if clearly else "contiguous"


def to_format(images: Tensor, name: str) -> Tensor:
    """Return images in a memory format; without a copy if they have it."""
    return images.contiguous(memory_format=FORMATS[name])


def _time_pass(network: nn.Module, images: Tensor, autocast: Autocast) -> float:
    """Return the seconds of a forward and backward pass."""
    start = synchronized_time(images.device)
    with autocast():
        output = network(images)
    torch.autograd.grad(output.float().square().mean(), list(network.parameters()))
    return synchronized_time(images.device) - start
