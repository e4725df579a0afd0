"""Steps that are not finite, remembered on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Fault(NamedTuple):
    """The first step of a player that was not finite, counted from 0 since `Watch` began."""

    player: str
    step: int


class Watch:
    """Remembers the first step that was not finite, on the device: nothing waits for it.

    Such a step changes no weight; `fault` is asked when a line of the log is due anyway.
    """

    def __init__(self, device: torch.device):
        self.steps = 0
        self._device = device
        self._now = torch.zeros((), dtype=torch.long, device=device)  # as `steps`, where it counts
        self._first: dict[str, Tensor] = {}
        self._norms: dict[str, Tensor] = {}

    def note(self, player: str, sound: Tensor, norm: Tensor) -> None:
        """Take in whether a player's step was sound (a bool on the device), and the norm of its
        gradient."""
        if player not in self._first:
            self._first[player] = torch.full((), -1, device=self._device)
        if player not in self._norms:
            self._norms[player] = torch.zeros_like(norm)
        self._norms[player].copy_(norm)
        first = self._first[player]  # changed in place: a captured step writes there again
        first.copy_(torch.where((first < 0) & ~sound, self._now, first))

    def norms(self) -> dict[str, Tensor]:
        """The norm of the gradient by which each player stepped last, still on the device."""
        return {player: norm.clone() for player, norm in self._norms.items()}

    def restore(self, norms: dict[str, Tensor]) -> None:
        """Put the norms back where `norms` found them: not every player steps at every step."""
        self._norms = {player: norm.to(self._device) for player, norm in norms.items()}

    def step(self) -> None:
        """A whole step is over."""
        self.steps += 1
        self._now += 1

    def fault(self) -> Fault | None:
        """The first fault there was; waits for the device."""
        faults = [Fault(player, int(first)) for player, first in self._first.items()]
        seen = [fault for fault in faults if fault.step >= 0]
        return min(seen, key=lambda fault: fault.step) if seen else None
