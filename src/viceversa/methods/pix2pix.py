"""pix2pix: Image-to-Image Translation with Conditional Adversarial Networks (Isola et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..batch import Batch
from ..directions import Direction, DomainName
from ..losses import GANLoss, discriminator_losses, feature_matching, fill, l1, perceptual
from .advice import PIX2PIX
from .base import Discriminator, MakeDiscriminator, MakeGenerator, Method, Turn
from .config import Pix2PixConfig
from .objective import make_objective


class Pix2Pix(Method):
    """Paired images: `g_ab` maps A to B, `d_b` discriminates pairs (a, b), patch by patch."""

    Config = Pix2PixConfig
    paired = Config.paired
    advice = PIX2PIX

    def __init__(
        self,
        config: Pix2PixConfig,
        channels: tuple[int, int],
        generator: MakeGenerator,
        discriminator: MakeDiscriminator,
    ):
        super().__init__()
        channels_a, channels_b = channels
        if config.lambda_perceptual and channels_b != 3:
            raise ValueError(
                "the perceptual loss compares RGB images, and the target has "
                f"{channels_b} channels; set method.lambda_perceptual to 0"
            )
        self.config = config
        self.gan = make_objective(config)
        self.g_ab = generator(channels_a, channels_b)
        self.d_b = discriminator(channels_a + channels_b if config.conditional else channels_b)
        if config.lambda_features and not (config.lambda_gan and hasattr(self.d_b, "features")):
            raise ValueError(
                "feature matching needs an adversarial loss and a discriminator with features; set "
                "method.lambda_features to 0"
            )

    def needed_features(self) -> tuple[str, ...]:
        return (self.config.perceptual_network,) if self.config.lambda_perceptual else ()

    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.g_ab], "discriminator": [self.d_b]}

    def translators(self) -> dict[Direction, nn.Module]:
        return {"ab": self.g_ab}

    def discriminators(self) -> dict[DomainName, Discriminator]:
        return {"b": Discriminator(self.d_b, self.config.conditional)}

    @property
    def objective(self) -> GANLoss | None:
        return self.gan if self.config.lambda_gan else None

    def step(self, batch: Batch) -> Iterator[Turn]:
        a, b, weight, config = batch.a, batch.b, batch.weight_b, self.config
        fake_b = fill(self.g_ab(a), weight, batch.fill_b)

        if config.lambda_gan:
            real, fake = self.d_input(a, b), self.d_input(a, fake_b.detach())
            losses = discriminator_losses(self.d_b, self.gan, real, fake, weight, weight)
            yield "discriminator", {f"d_{name}": loss for name, loss in losses.items()}

        losses = {"g_l1": config.lambda_l1 * l1(fake_b, b, weight)}
        real, fake = self.d_input(a, b), self.d_input(a, fake_b)
        if config.lambda_gan:  # with the discriminator's new weights
            losses["g_gan"] = config.lambda_gan * self.gan.fool(self.d_b(fake), weight)
        if config.lambda_features:
            features: Any = self.d_b.features
            with torch.no_grad():
                wanted = features(real)
            distance = feature_matching(features(fake), wanted, weight)
            losses["g_features"] = config.lambda_features * distance
        if config.lambda_perceptual:
            network = self.feature_networks[config.perceptual_network]
            distance = perceptual(network(fake_b), network(b), weight)
            losses["g_perceptual"] = config.lambda_perceptual * distance
        yield "generator", losses

    def d_input(self, a: Tensor, b: Tensor) -> Tensor:
        """The pair in the channels, or b alone."""
        return torch.cat([a, b], dim=1) if self.config.conditional else b
