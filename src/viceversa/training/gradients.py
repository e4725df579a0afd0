"""Norms of gradients, and the first non-finite step, recorded on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Fault(NamedTuple):
    """The first non-finite step of a player; steps are counted from 0."""

    player: str
    step: int


class GradientStats:
    """Records gradient norms and the first non-finite step, without waiting for the device.

    A non-finite step changes no weight, so `first_fault` is read only when a line of the log is
    due and before a checkpoint is saved.
    """

    def __init__(self, device: torch.device):
        self.steps = 0
        self._device = device
        self._step = torch.zeros((), dtype=torch.long, device=device)  # `steps`, on the device
        self._first: dict[str, Tensor] = {}
        self._norms: dict[str, Tensor] = {}

    def record(self, player: str, finite: Tensor, norm: Tensor) -> None:
        """Record whether a player's step was finite (bool), and its gradient norm; on the device.

        All tensors are changed in place, so that a captured step writes to them again.
        """
        if player not in self._first:
            self._first[player] = torch.full((), -1, device=self._device)
        if player not in self._norms:
            self._norms[player] = torch.zeros_like(norm)
        self._norms[player].copy_(norm)
        first = self._first[player]
        first.copy_(torch.where((first < 0) & ~finite, self._step, first))

    def count_step(self) -> None:
        """Count a completed optimizer step."""
        self.steps += 1
        self._step += 1

    def norms(self) -> dict[str, Tensor]:
        """Return the gradient norm of each player at its latest step, on the device."""
        return {player: norm.clone() for player, norm in self._norms.items()}

    def restore(self, norms: dict[str, Tensor]) -> None:
        """Restore the result of `norms`: a player may step less often than others."""
        self._norms = {player: norm.to(self._device) for player, norm in norms.items()}

    def first_fault(self) -> Fault | None:
        """Return the first non-finite step, None if there was none; waits for the device."""
        faults = [Fault(player, int(first)) for player, first in self._first.items()]
        return min((f for f in faults if f.step >= 0), key=lambda f: f.step, default=None)
