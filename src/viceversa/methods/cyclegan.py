"""CycleGAN: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks
(Zhu et al. 2017).

`d_a` judges images of A, `d_b` images of B (the paper's D_X and D_Y).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ..losses import GAN_LOSSES, GANLossName, History, gradient_penalty, l1
from ..networks import together
from .base import Batch, Losses, MakeDiscriminator, MakeGenerator, Method, Turn


class CycleGAN(Method):
    """Unpaired images, both directions at once: what goes there and back comes back the same."""

    paired: ClassVar[bool] = False

    @dataclass(frozen=True)
    class Config:
        gan_loss: GANLossName = "lsgan"
        """The adversarial objective."""
        lambda_gan: float = 1.0
        """Weight of the adversarial losses."""
        lambda_cycle: float = 10.0
        """Weight of the cycle loss, both ways round (eq. 3)."""
        lambda_identity: float = 5.0
        """Weight of the identity loss (sec. 5.2: keeps colours); 0 is a third faster."""
        lambda_penalty: float = 10.0
        """Weight of the gradient penalty (`wgan-gp`)."""
        d_weight: float = 0.5
        """Factor on the discriminators' losses (sec. 4: they learn half as fast)."""
        pool: int = 50
        """Past fakes kept per domain for the discriminators (sec. 4); 0 keeps none."""

    def __init__(
        self,
        config: Config,
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
        self.past_a, self.past_b = History(config.pool), History(config.pool)

    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.g_ab, self.g_ba], "discriminator": [self.d_a, self.d_b]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.g_ab, "ba": self.g_ba}

    def judges(self) -> dict[str, tuple[nn.Module, bool]]:
        return {"a": (self.d_a, False), "b": (self.d_b, False)}

    def step(self, batch: Batch) -> Iterator[Turn]:
        a, b = batch
        config = self.config

        # Asked for the identity loss, a generator is shown its target too, and leaves it alone.
        shown_ab, shown_ba = ((a, b), (b, a)) if config.lambda_identity else ((a,), (b,))
        fake_b, *same_b = together(self.g_ab, *shown_ab)
        fake_a, *same_a = together(self.g_ba, *shown_ba)
        losses = {
            "g_gan_ab": config.lambda_gan * self.gan.fool(self.d_b(fake_b)),
            "g_gan_ba": config.lambda_gan * self.gan.fool(self.d_a(fake_a)),
            "g_cycle_a": config.lambda_cycle * l1(self.g_ba(fake_b), a),
            "g_cycle_b": config.lambda_cycle * l1(self.g_ab(fake_a), b),
        }
        if config.lambda_identity:
            losses["g_identity_b"] = config.lambda_identity * l1(same_b[0], b)
            losses["g_identity_a"] = config.lambda_identity * l1(same_a[0], a)
        yield "generator", losses

        # The fakes are those made before the generators' step; the pool makes some of them older.
        d_a = self.d_losses("d_a", self.d_a, a, self.past_a(fake_a))
        d_b = self.d_losses("d_b", self.d_b, b, self.past_b(fake_b))
        yield "discriminator", d_a | d_b

    def d_losses(self, name: str, judge: nn.Module, real: Tensor, fake: Tensor) -> Losses:
        real_scores, fake_scores = together(judge, real, fake)
        losses = {
            f"{name}_real": self.config.d_weight * self.gan.real(real_scores),
            f"{name}_fake": self.config.d_weight * self.gan.fake(fake_scores),
        }
        if self.gan.penalised:
            penalty = gradient_penalty(judge, real, fake)
            losses[f"{name}_penalty"] = self.config.lambda_penalty * penalty
        return losses
