"""The contract: a method yields losses, the trainer takes the optimizer steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from ..batch import Batch
from ..directions import Direction, DomainName
from ..losses import GANLoss

Losses = dict[str, Tensor]  # name -> scalar; the trainer minimizes their sum
Turn = tuple[str | None, Losses]  # player and its losses; None: to log, not to minimize
MakeGenerator = Callable[[int, int], nn.Module]  # (channels in, channels out) -> network
FeatureNetwork = Callable[[Tensor], list[Tensor]]  # image (n, 3, h, w) -> features
MakeDiscriminator = Callable[[int], nn.Module]  # (channels in) -> network


class Discriminator(NamedTuple):
    """A discriminator, and whether its input is the pair (source, image) in the channels."""

    network: nn.Module
    conditional: bool


class Method(ABC, nn.Module):
    """Contains the networks, and defines which losses train which of them, in which order.

    A method does not know optimizers, gradients, devices, files or other processes.
    """

    paired: ClassVar[bool]
    """Whether it trains on pairs (a, b); subclasses inherit it. Model files record it."""
    advice: ClassVar[Mapping[str, str]] = {}
    """Advice on training problems that names options of the method: problem -> sentence."""

    feature_networks: Mapping[str, FeatureNetwork] = {}
    """Frozen networks by name, which the trainer sets: no modules, so neither saved nor trained."""

    @abstractmethod
    def players(self) -> dict[str, list[nn.Module]]:
        """Return the networks of each player, which are optimized together."""

    @abstractmethod
    def step(self, batch: Batch) -> Iterator[Turn]:
        """Yield (player, losses) in turn; code after a yield uses that player's new weights."""

    @abstractmethod
    def translators(self) -> dict[Direction, nn.Module]:
        """Return the generators that are saved, by direction (`ab`, `ba`)."""

    def discriminators(self) -> dict[DomainName, Discriminator]:
        """Return the discriminators, by the domain (`a`, `b`) of their images."""
        return {}

    def needed_features(self) -> tuple[str, ...]:
        """Return the names of the frozen feature networks that losses need (`vgg`, `alexnet`)."""
        return ()

    @property
    def objective(self) -> GANLoss | None:
        """The objective that the discriminators are trained with; None if they are not trained."""
        return None
