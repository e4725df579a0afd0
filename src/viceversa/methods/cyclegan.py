"""CycleGAN: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks
(Zhu et al. 2017).

`d_a` discriminates images of A, `d_b` images of B (the paper's D_X and D_Y).
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from ..batch import Batch
from ..directions import Direction, DomainName
from ..losses import GAN_LOSSES, GANLoss, ImagePool, Weight, discriminator_losses, fill, l1
from .advice import CYCLEGAN
from .base import Discriminator, Losses, MakeDiscriminator, MakeGenerator, Method, Turn
from .config import CycleGANConfig


class CycleGAN(Method):
    """Unpaired images, both directions at once; a translation back reconstructs the image."""

    Config = CycleGANConfig
    paired = Config.paired
    advice = CYCLEGAN

    def __init__(
        self,
        config: CycleGANConfig,
        channels: tuple[int, int],
        generator: MakeGenerator,
        discriminator: MakeDiscriminator,
    ):
        super().__init__()
        channels_a, channels_b = channels
        if config.lambda_identity and channels_a != channels_b:
            raise ValueError(
                f"the identity loss needs as many channels in A ({channels_a}) as in B "
                f"({channels_b}); set method.lambda_identity to 0"
            )
        self.config = config
        self.gan = GAN_LOSSES[config.gan_loss]
        self.g_ab, self.g_ba = generator(channels_a, channels_b), generator(channels_b, channels_a)
        self.d_a, self.d_b = discriminator(channels_a), discriminator(channels_b)
        self.past_a, self.past_b = ImagePool(config.pool_size), ImagePool(config.pool_size)

    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.g_ab, self.g_ba], "discriminator": [self.d_a, self.d_b]}

    def translators(self) -> dict[Direction, nn.Module]:
        return {"ab": self.g_ab, "ba": self.g_ba}

    def discriminators(self) -> dict[DomainName, Discriminator]:
        return {"a": Discriminator(self.d_a, False), "b": Discriminator(self.d_b, False)}

    @property
    def objective(self) -> GANLoss:
        return self.gan

    def step(self, batch: Batch) -> Iterator[Turn]:
        a, b, weight_a, weight_b = batch.a, batch.b, batch.weight_a, batch.weight_b
        config = self.config

        identity = config.lambda_identity > 0
        fake_b, same_b = self.g_ab(a), self.g_ab(b) if identity else b
        fake_a, same_a = self.g_ba(b), self.g_ba(a) if identity else a
        fake_b, fake_a = fill(fake_b, weight_a, batch.fill_b), fill(fake_a, weight_b, batch.fill_a)
        losses = {
            "g_gan_ab": config.lambda_gan * self.gan.fool(self.d_b(fake_b), weight_a),
            "g_gan_ba": config.lambda_gan * self.gan.fool(self.d_a(fake_a), weight_b),
            "g_cycle_a": config.lambda_cycle * l1(self.g_ba(fake_b), a, weight_a),
            "g_cycle_b": config.lambda_cycle * l1(self.g_ab(fake_a), b, weight_b),
        }
        if identity:
            losses["g_identity_b"] = config.lambda_identity * l1(same_b, b, weight_b)
            losses["g_identity_a"] = config.lambda_identity * l1(same_a, a, weight_a)
        yield "generator", losses

        # The fakes are from before the generators' step; the pool replaces some by older ones.
        d_a = self.d_losses("d_a", self.d_a, a, weight_a, *self.past_a(fake_a, weight_b))
        d_b = self.d_losses("d_b", self.d_b, b, weight_b, *self.past_b(fake_b, weight_a))
        yield "discriminator", d_a | d_b

    def d_losses(
        self,
        name: str,
        network: nn.Module,
        real: Tensor,
        real_weight: Weight,
        fake: Tensor,
        fake_weight: Weight,
    ) -> Losses:
        factor, penalty = self.config.d_weight, self.config.lambda_penalty
        losses = discriminator_losses(
            network, self.gan, real, fake, factor, penalty, real_weight, fake_weight
        )
        return {f"{name}_{which}": loss for which, loss in losses.items()}
