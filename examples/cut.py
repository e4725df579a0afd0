"""CUT: Contrastive Learning for Unpaired Image-to-Image Translation (Park et al. 2020).

viceversa train cyclegan DATA --import examples/cut.py --method.name cut
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from viceversa.batch import Batch
from viceversa.losses import GAN_LOSSES, GANLoss, discriminator_losses
from viceversa.methods import METHODS
from viceversa.methods.base import (
    Discriminator,
    MakeDiscriminator,
    MakeGenerator,
    Method,
    Turn,
)
from viceversa.methods.config import gan_loss_option


class CUT(Method):
    """Unpaired images in one direction: a patch of the translation must resemble the patch of the
    source at the same position more than other patches of that source."""

    paired: ClassVar[bool] = False

    @dataclass(frozen=True)
    class Config:
        gan_loss: str = gan_loss_option("lsgan")
        """The adversarial objective."""
        lambda_gan: float = 1.0
        """Weight of the adversarial loss."""
        lambda_nce: float = 1.0
        """Weight of the contrastive loss (eq. 3)."""
        lambda_identity: float = 1.0
        """Weight of the contrastive loss on images of B (eq. 4); 0 is FastCUT."""
        d_weight: float = 0.5
        """Factor on the discriminator's loss."""
        layers: tuple[int, ...] = (0, 1, 2)
        """Layers of the generator whose features are compared."""
        patches: int = 256
        """Patches per image and layer."""
        channels: int = 256
        """Channels of the embedding of a patch."""
        temperature: float = 0.07
        """Temperature of the contrastive loss (eq. 2)."""

    def __init__(
        self,
        config: Config,
        channels: tuple[int, int],
        generator: MakeGenerator,
        discriminator: MakeDiscriminator,
    ):
        super().__init__()
        if config.lambda_identity and channels[0] != channels[1]:
            raise ValueError("the identity loss needs equal channels; set method.lambda_identity 0")
        self.config = config
        self.gan = GAN_LOSSES[config.gan_loss]
        self.g_ab, self.d_b = generator(*channels), discriminator(channels[1])
        widths = self.g_ab.feature_channels(config.layers)
        self.heads = nn.ModuleList(head(width, config.channels) for width in widths)

    def players(self) -> dict[str, list[nn.Module]]:
        return {"discriminator": [self.d_b], "generator": [self.g_ab, self.heads]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.g_ab}

    def discriminators(self) -> dict[str, Discriminator]:
        return {"b": Discriminator(self.d_b, conditional=False)}

    @property
    def objective(self) -> GANLoss:
        return self.gan

    def step(self, batch: Batch) -> Iterator[Turn]:
        a, b = batch.a, batch.b
        config = self.config
        fake_b = self.g_ab(a)

        d = discriminator_losses(self.d_b, self.gan, b, fake_b.detach(), config.d_weight)
        yield "discriminator", {f"d_{name}": loss for name, loss in d.items()}

        losses = {
            "g_gan": config.lambda_gan * self.gan.fool(self.d_b(fake_b)),
            "g_nce": config.lambda_nce * self.nce(a, fake_b),
        }
        if config.lambda_identity:
            losses["g_identity"] = config.lambda_identity * self.nce(b, self.g_ab(b))
        yield "generator", losses

    def nce(self, source: Tensor, output: Tensor) -> Tensor:
        """Mean contrastive loss over the layers, (n, c, h, w) each (eq. 3)."""
        layers, losses = self.config.layers, []
        with torch.no_grad():
            keys = self.g_ab.features(source, layers)
        for key, query, embed in zip(
            keys, self.g_ab.features(output, layers), self.heads, strict=True
        ):
            positions = torch.randperm(key.shape[2] * key.shape[3], device=key.device)
            positions = positions[: self.config.patches]
            k, q = (embed(x.flatten(2)[:, :, positions].transpose(1, 2)) for x in (key, query))
            losses.append(patch_nce(q, k.detach(), self.config.temperature))
        return torch.stack(losses).mean()


def head(channels_in: int, channels_out: int) -> nn.Module:
    """Two-layer network that embeds the features of a patch (appendix C.2)."""
    return nn.Sequential(
        nn.Linear(channels_in, channels_out), nn.ReLU(), nn.Linear(channels_out, channels_out)
    )


def patch_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding the key of each query among all keys of its image (eq. 2).

    `queries`, `keys`: (images, patches, channels); equal positions belong together.
    """
    queries, keys = (F.normalize(x.float(), dim=2) for x in (queries, keys))
    logits = queries @ keys.transpose(1, 2) / temperature
    own = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    return F.cross_entropy(logits.flatten(0, 1), own.flatten())


METHODS["cut"] = (CUT, CUT.Config)
