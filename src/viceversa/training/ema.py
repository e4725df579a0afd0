"""Exponential moving average (EMA) of the generators' weights."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..directions import Direction


class EMA:
    """Exponential moving average of the weights of generators, updated after every step.

    ema <- d * ema + (1 - d) * weights, with d = min(decay, (1 + step) / (10 + step)), so that the
    first weights lose their influence soon. The statistics of batch norm are not averaged.

    Args:
        networks: The generators, by direction.
        decay: The decay, from 0 to less than 1.
    """

    def __init__(self, networks: dict[Direction, nn.Module], decay: float):
        self._networks, self.decay, self.steps = networks, decay, 0
        self._averages = {
            name: {key: weight.detach().clone() for key, weight in network.named_parameters()}
            for name, network in networks.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Update the averages after a step; a non-finite one left the weights as they were."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages: list[Tensor] = list(
            chain.from_iterable(a.values() for a in self._averages.values())
        )
        weights = list(chain.from_iterable(n.parameters() for n in self._networks.values()))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(averages, weights, 0)
        self.steps += 1

    @torch.no_grad()
    def networks(self) -> dict[Direction, nn.Module]:
        """Return copies of the generators with EMA weights."""
        copies = {name: copy.deepcopy(network) for name, network in self._networks.items()}
        for name, network in copies.items():
            for key, weight in network.named_parameters():
                weight.copy_(self._averages[name][key])
        return copies

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"steps": self.steps, "kept": {name: dict(a) for name, a in self._averages.items()}}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Restore `state`; start from the current weights if it has no averages."""
        self.steps = state.get("steps", 0)
        for name, network in self._networks.items():
            saved = state.get("kept", {}).get(name) or dict(network.named_parameters())
            for key, average in self._averages[name].items():
                average.copy_(saved[key])
