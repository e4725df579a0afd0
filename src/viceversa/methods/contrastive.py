"""Networks of CUT and its variants, which compare the features of image patches."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..directions import Direction, DomainName
from ..losses import GANLoss
from ..networks.init import init_weights
from .advice import CUT
from .base import Discriminator, MakeDiscriminator, MakeGenerator, Method
from .config import ContrastiveConfig
from .nce import HasFeatures
from .objective import make_objective


class ContrastiveMethod(Method):
    """One direction: `g_ab` maps A to B, `d_b` discriminates images of B.

    `heads` embed the features of patches, one for each layer, and are trained with the generator.
    """

    advice = CUT

    def __init__(
        self,
        config: ContrastiveConfig,
        channels: tuple[int, int],
        generator: MakeGenerator,
        discriminator: MakeDiscriminator,
    ):
        super().__init__()
        self.config = config
        self.gan = make_objective(config)
        self.g_ab, self.d_b = generator(*equal_channels(channels)), discriminator(channels[1])
        self.heads = make_heads(self.g_ab, config.layers, config.head_width)

    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.g_ab, self.heads], "discriminator": [self.d_b]}

    def translators(self) -> dict[Direction, nn.Module]:
        return {"ab": self.g_ab}

    def discriminators(self) -> dict[DomainName, Discriminator]:
        return {"b": Discriminator(self.d_b, False)}

    @property
    def objective(self) -> GANLoss:
        return self.gan


def equal_channels(channels: tuple[int, int]) -> tuple[int, int]:
    """Return the channels of A and B. Raises ValueError if they differ."""
    channels_a, channels_b = channels
    if channels_a != channels_b:
        raise ValueError(
            f"the contrastive loss needs as many channels in A ({channels_a}) as in B "
            f"({channels_b}), because the generator encodes images of both; set data.a.channels "
            "and data.b.channels to the same number"
        )
    return channels


def make_heads(generator: nn.Module, layers: Sequence[int], width: int) -> nn.ModuleList:
    """Return a network of two linear layers for the features of each layer (CUT, sec. 3).

    Raises:
        ValueError: The generator has no features, or not so many layers.
    """
    if not isinstance(generator, HasFeatures):
        raise ValueError(
            "the method compares features, which this generator does not have; choose another, "
            "such as generator.name resnet"
        )
    if not layers:
        raise ValueError("method.layers is empty; name at least one layer of the generator")
    try:
        channels = generator.feature_channels(layers)
    except IndexError:
        raise ValueError(
            f"the generator has no layer {max(layers)}; set method.layers to smaller numbers"
        ) from None
    heads = nn.ModuleList(
        nn.Sequential(nn.Linear(one, width), nn.ReLU(), nn.Linear(width, width)) for one in channels
    )
    init_weights(heads, "xavier-normal")
    return heads
