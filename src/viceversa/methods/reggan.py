"""RegGAN: Breaking the Dilemma of Medical Image-to-image Translation (Kong et al. 2021).

The pairs are misaligned: the target is deformed relative to its source. A registration network R
aligns the output with its target before the two are compared, so that the generator need not learn
the deformations. R is not used at inference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..batch import Batch
from ..directions import Direction, DomainName
from ..losses import GANLoss, discriminator_losses, fill, l1
from ..networks.registration import RegistrationNet
from .advice import CYCLEGAN_REG, REGGAN
from .base import Discriminator, Losses, MakeDiscriminator, MakeGenerator, Method, Turn
from .config import CycleGANRegConfig, RegGANConfig, RegistrationConfig
from .cyclegan import CycleGAN
from .flow import smoothness, squared_shift, warp
from .objective import make_objective


def registration_losses(
    config: RegistrationConfig, network: nn.Module, fake_b: Tensor, batch: Batch
) -> tuple[Losses, Losses]:
    """Return the losses of the generator and R, and lengths of the flow to log, in pixels."""
    if not config.lambda_correction:
        return {}, {}
    flow, weight = network(fake_b, batch.b), batch.weight_b
    warped = warp(fake_b, flow)
    if weight is not None:  # a pixel that is sampled where there is no data has none either
        weight = weight * warp(weight, flow.detach())
    losses = {
        "g_correction": config.lambda_correction * l1(warped, batch.b, weight),
        "g_smoothness": config.lambda_smoothness * smoothness(flow),
        "g_shift": config.lambda_shift * squared_shift(flow, batch.weight_b),
    }
    lengths = torch.linalg.vector_norm(flow.detach().float(), dim=1).flatten(1)
    return losses, {"flow_mean": lengths.mean(), "flow_max": lengths.amax(dim=1).mean()}


class RegGAN(Method):
    """Misaligned pairs: `g_ab` maps A to B, `d_b` discriminates images of B."""

    Config = RegGANConfig
    paired = Config.paired
    advice = REGGAN

    def __init__(
        self,
        config: RegGANConfig,
        channels: tuple[int, int],
        generator: MakeGenerator,
        discriminator: MakeDiscriminator,
    ):
        super().__init__()
        if not (config.lambda_gan or config.lambda_correction):
            raise ValueError("method.lambda_gan or method.lambda_correction must be above 0")
        self.config = config
        self.gan = make_objective(config)
        self.g_ab, self.d_b = generator(*channels), discriminator(channels[1])
        self.registration = RegistrationNet(channels[1], config.registration_width)

    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.g_ab, self.registration], "discriminator": [self.d_b]}

    def translators(self) -> dict[Direction, nn.Module]:
        return {"ab": self.g_ab}

    def discriminators(self) -> dict[DomainName, Discriminator]:
        return {"b": Discriminator(self.d_b, conditional=False)}

    @property
    def objective(self) -> GANLoss | None:
        return self.gan if self.config.lambda_gan else None

    def step(self, batch: Batch) -> Iterator[Turn]:
        a, b, weight, config = batch.a, batch.b, batch.weight_b, self.config
        fake_b = fill(self.g_ab(a), weight, batch.fill_b)
        losses, lengths = registration_losses(config, self.registration, fake_b, batch)
        if config.lambda_gan:
            losses["g_gan"] = config.lambda_gan * self.gan.fool(self.d_b(fake_b), weight)
        yield "generator", losses
        yield None, lengths

        if config.lambda_gan:
            with torch.no_grad():  # translated again, with the generator's new weights
                fake_b = fill(self.g_ab(a), weight, batch.fill_b)
            losses = discriminator_losses(self.d_b, self.gan, b, fake_b, weight, weight)
            yield "discriminator", {f"d_{name}": loss for name, loss in losses.items()}


class CycleGANReg(CycleGAN):
    """CycleGAN on misaligned pairs, with registration of the translations of A."""

    Config = CycleGANRegConfig
    paired = Config.paired
    advice = CYCLEGAN_REG
    config: CycleGANRegConfig

    def __init__(self, config: CycleGANRegConfig, channels: tuple[int, int], *networks: Any):
        super().__init__(config, channels, *networks)
        self.registration = RegistrationNet(channels[1], config.registration_width)

    def players(self) -> dict[str, list[nn.Module]]:
        players = super().players()
        return players | {"generator": [*players["generator"], self.registration]}

    def step(self, batch: Batch) -> Iterator[Turn]:
        fakes = self.translate(batch)
        losses, lengths = registration_losses(self.config, self.registration, fakes.b, batch)
        yield "generator", self.g_losses(batch, fakes) | losses
        yield None, lengths
        yield "discriminator", self.d_losses(batch, fakes)
