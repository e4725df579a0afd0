"""CycleGAN: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks
(Zhu et al. 2017).

`d_a` discriminates images of A, `d_b` images of B (the paper's D_X and D_Y).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from ..batch import Batch
from ..directions import Direction, DomainName
from ..losses import GANLoss, discriminator_losses, fill, l1
from .advice import CYCLEGAN
from .base import Discriminator, Losses, MakeDiscriminator, MakeGenerator, Method, Turn
from .config import CycleGANConfig
from .image_pool import ImagePool
from .objective import make_objective


class Fakes(NamedTuple):
    """Translations of a batch, by the domain that they are in."""

    a: Tensor
    b: Tensor
    same_a: Tensor
    same_b: Tensor


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
        self.gan = make_objective(config)
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
        fakes = self.translate(batch)
        yield "generator", self.g_losses(batch, fakes)
        # The fakes are from before the generators' step; the pool replaces some by older ones.
        yield "discriminator", self.d_losses(batch, fakes)

    def translate(self, batch: Batch) -> Fakes:
        """Translate both images, and for the identity loss each into its own domain."""
        a, b, identity = batch.a, batch.b, self.config.lambda_identity > 0
        fake_b, same_b = self.g_ab(a), self.g_ab(b) if identity else b
        fake_a, same_a = self.g_ba(b), self.g_ba(a) if identity else a
        fake_b = fill(fake_b, batch.weight_a, batch.fill_b)
        fake_a = fill(fake_a, batch.weight_b, batch.fill_a)
        return Fakes(fake_a, fake_b, same_a, same_b)

    def g_losses(self, batch: Batch, fakes: Fakes) -> Losses:
        a, b, weight_a, weight_b = batch.a, batch.b, batch.weight_a, batch.weight_b
        config, fake_a, fake_b = self.config, fakes.a, fakes.b
        losses = {
            "g_gan_ab": config.lambda_gan * self.gan.fool(self.d_b(fake_b), weight_a),
            "g_gan_ba": config.lambda_gan * self.gan.fool(self.d_a(fake_a), weight_b),
            "g_cycle_a": config.lambda_cycle * l1(self.g_ba(fake_b), a, weight_a),
            "g_cycle_b": config.lambda_cycle * l1(self.g_ab(fake_a), b, weight_b),
        }
        if config.lambda_identity:
            losses["g_identity_b"] = config.lambda_identity * l1(fakes.same_b, b, weight_b)
            losses["g_identity_a"] = config.lambda_identity * l1(fakes.same_a, a, weight_a)
        return losses

    def d_losses(self, batch: Batch, fakes: Fakes) -> Losses:
        all_losses: Losses = {}
        for name, network, pool, real, fake, real_weight, fake_weight in (
            ("d_a", self.d_a, self.past_a, batch.a, fakes.a, batch.weight_a, batch.weight_b),
            ("d_b", self.d_b, self.past_b, batch.b, fakes.b, batch.weight_b, batch.weight_a),
        ):
            fake, fake_weight = pool(fake, fake_weight)
            losses = discriminator_losses(network, self.gan, real, fake, real_weight, fake_weight)
            all_losses |= {f"{name}_{which}": loss for which, loss in losses.items()}
        return all_losses
