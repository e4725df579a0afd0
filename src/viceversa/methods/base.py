"""The contract: a method yields losses, the trainer takes the steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]  # images of A and of B: (n, channels, h, w) in [-1, 1]
Losses = dict[str, Tensor]  # name -> scalar; the trainer minimises their sum
Turn = tuple[str | None, Losses]  # whose losses; None: to watch, not to minimise
MakeGenerator = Callable[[int, int], nn.Module]  # (channels in, channels out) -> network
MakeDiscriminator = Callable[[int], nn.Module]  # (channels in) -> network


class Method(ABC, nn.Module):
    """Holds networks and says in which order which losses train whom.

    It never sees an optimizer, a gradient, a device, a file or another process.
    """

    paired: ClassVar[bool]
    """Whether it trains on pairs (a, b); subclasses inherit it. Model files record it."""

    @abstractmethod
    def players(self) -> dict[str, list[nn.Module]]:
        """Who is trained together: player -> its networks."""

    @abstractmethod
    def step(self, batch: Batch) -> Iterator[Turn]:
        """Yield (player, losses) in turn; the code after a yield sees that player's new weights."""

    @abstractmethod
    def translators(self) -> dict[str, nn.Module]:
        """The generators worth keeping, by direction: `ab`, `ba`."""

    @abstractmethod
    def judges(self) -> dict[str, tuple[nn.Module, bool]]:
        """The discriminators by domain: `a`, `b` -> (network, whether it wants the pair)."""
