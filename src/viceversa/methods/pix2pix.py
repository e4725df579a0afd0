"""pix2pix: Image-to-Image Translation with Conditional Adversarial Networks (Isola et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..losses import GAN_LOSSES, GANLossName, gradient_penalty, l1
from ..networks import together
from .base import Batch, Losses, MakeDiscriminator, MakeGenerator, Method, Turn


class Pix2Pix(Method):
    """Paired images: `g_ab` paints B from A, `d_b` judges the pair (a, b) patch by patch."""

    paired: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Config:
        gan_loss: GANLossName = "bce"
        """The adversarial objective."""
        lambda_gan: float = 1.0
        """Weight of the adversarial loss; 0 leaves L1 alone."""
        lambda_l1: float = 100.0
        """Weight of the L1 loss (eq. 4)."""
        lambda_penalty: float = 10.0
        """Weight of the gradient penalty (`wgan-gp`)."""
        conditional: bool = True
        """Show the discriminator the pair; false shows it b alone, the paper's ablation."""
        d_weight: float = 0.5
        """Factor on the discriminator's loss (sec. 3.3: it learns half as fast)."""

    def __init__(
        self,
        config: Config,
        channels: tuple[int, int],
        generator: MakeGenerator,
        discriminator: MakeDiscriminator,
    ):
        super().__init__()
        channels_a, channels_b = channels
        self.config = config
        self.gan = GAN_LOSSES[config.gan_loss]
        self.g_ab = generator(channels_a, channels_b)
        self.d_b = discriminator(channels_a + channels_b if config.conditional else channels_b)

    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.g_ab], "discriminator": [self.d_b]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.g_ab}

    def judges(self) -> dict[str, tuple[nn.Module, bool]]:
        return {"b": (self.d_b, self.config.conditional)}

    def shown(self, a: Tensor, b: Tensor) -> Tensor:
        """What the discriminator looks at: the pair, one above the other in channels."""
        return torch.cat([a, b], dim=1) if self.config.conditional else b

    def step(self, batch: Batch) -> Iterator[Turn]:
        a, b = batch
        fake_b = self.g_ab(a)

        if self.config.lambda_gan:
            yield "discriminator", self.d_losses(self.shown(a, b), self.shown(a, fake_b.detach()))

        losses = {"g_l1": self.config.lambda_l1 * l1(fake_b, b)}
        if self.config.lambda_gan:
            fooled = self.gan.fool(self.d_b(self.shown(a, fake_b)))  # by the judge's new weights
            losses["g_gan"] = self.config.lambda_gan * fooled
        yield "generator", losses

    def d_losses(self, real: Tensor, fake: Tensor) -> Losses:
        real_scores, fake_scores = together(self.d_b, real, fake)
        losses = {
            "d_real": self.config.d_weight * self.gan.real(real_scores),
            "d_fake": self.config.d_weight * self.gan.fake(fake_scores),
        }
        if self.gan.penalised:
            penalty = gradient_penalty(self.d_b, real, fake)
            losses["d_penalty"] = self.config.lambda_penalty * penalty
        return losses
