"""Averaged weights of the generators (EMA), beside those that train."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Averages:
    """An exponential moving average of each generator, taken in after every step.

    average <- d * average + (1 - d) * weights, d = min(decay, (1 + step) / (10 + step)): the first
    steps, far from anything worth keeping, are soon forgotten. Statistics of batch norm are not
    averaged but those of the generator at the time. A step that was not finite left the weights as
    they were, so it can't spoil the average.
    """

    def __init__(self, networks: dict[str, nn.Module], decay: float):
        self._live, self.decay, self.steps = networks, decay, 0
        self._kept = {
            name: {key: weight.detach().clone() for key, weight in network.named_parameters()}
            for name, network in networks.items()
        }

    @torch.no_grad()
    def take(self) -> None:
        """Take in the weights after a step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        mine: list[Tensor] = list(chain.from_iterable(k.values() for k in self._kept.values()))
        theirs = list(chain.from_iterable(n.parameters() for n in self._live.values()))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(mine, theirs, 0)
        self.steps += 1

    @torch.no_grad()
    def networks(self) -> dict[str, nn.Module]:
        """Copies of the generators with the averaged weights."""
        copies = {name: copy.deepcopy(network) for name, network in self._live.items()}
        for name, network in copies.items():
            for key, weight in network.named_parameters():
                weight.copy_(self._kept[name][key])
        return copies

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"steps": self.steps, "kept": {name: dict(k) for name, k in self._kept.items()}}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; from the weights as they are, where there was no average yet."""
        self.steps = state.get("steps", 0)
        for name, network in self._live.items():
            before = state.get("kept", {}).get(name) or dict(network.named_parameters())
            for key, kept in self._kept[name].items():
                kept.copy_(before[key])
