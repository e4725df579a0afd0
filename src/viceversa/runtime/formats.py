"""How images lie in memory: which way is faster, measured on the machine at hand."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

Autocast = Callable[[], AbstractContextManager[None]]
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
TURNS = 3  # timed passes each way, in turn
CLEARLY = 0.95  # channels_last has to take less than this share of the time


def faster(network: nn.Module, images: Tensor, autocast: Autocast) -> str:
    """`contiguous` or `channels_last`, whichever a pass of the network and back is faster in.

    `images`: (n, channels, h, w). Copies are timed, so that no statistic or gradient changes.
    """
    ways = {
        name: (copy.deepcopy(network).to(memory_format=layout), laid_out(images, name))  # type: ignore[call-overload]
        for name, layout in FORMATS.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.random.fork_rng():
        for turn in range(TURNS + 1):
            for name, (one, shown) in ways.items():
                taken = _pass(one, shown, autocast)
                if turn:  # the first one warms up
                    seconds[name].append(taken)
    medians = {name: statistics.median(every) for name, every in seconds.items()}
    clearly = medians["channels_last"] < CLEARLY * medians["contiguous"]
    return "channels_last" if clearly else "contiguous"


def laid_out(images: Tensor, name: str) -> Tensor:
    """Images in a memory format; as they are where they have it."""
    return images.contiguous(memory_format=FORMATS[name])


def _pass(network: nn.Module, images: Tensor, autocast: Autocast) -> float:
    """Seconds of a forward and a backward pass."""
    began = now(images.device)
    with autocast():
        made = network(images)
    torch.autograd.grad(made.float().square().mean(), list(network.parameters()))
    return now(images.device) - began


def now(device: torch.device) -> float:
    """Seconds, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
