"""CUT and FastCUT: Contrastive Learning for Unpaired Image-to-Image Translation (Park et al. 2020).

FastCUT is `lambda_nce` 10, no identity loss, and `flip_equivariance`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..batch import Batch
from ..losses import Weight, discriminator_losses, fill
from .base import Turn
from .config import CUTConfig
from .contrastive import ContrastiveMethod
from .nce import embed, features, mirror, patch_hdce, patch_nce, random_flip


class CUT(ContrastiveMethod):
    """Unpaired images in one direction: each patch of the output must resemble the patch of the
    source at its position more than other patches of that source."""

    Config = CUTConfig
    paired = Config.paired
    config: CUTConfig

    def step(self, batch: Batch) -> Iterator[Turn]:
        a, b, config = batch.a, batch.b, self.config
        flip = random_flip(a.device) if config.flip_equivariance else None
        weight_a, weight_b = mirror(batch.weight_a, flip), mirror(batch.weight_b, flip)
        fake_b = fill(self.g_ab(mirror(a, flip)), weight_a, batch.fill_b)

        fake, real_weight = fake_b.detach(), batch.weight_b
        losses = discriminator_losses(self.d_b, self.gan, b, fake, real_weight, weight_a)
        yield "discriminator", {f"d_{name}": loss for name, loss in losses.items()}

        losses = {  # with the discriminator's new weights
            "g_gan": config.lambda_gan * self.gan.fool(self.d_b(fake_b), weight_a),
            "g_nce": config.lambda_nce * self.nce(a, fake_b, batch.weight_a, flip, batch.progress),
        }
        if config.lambda_identity:
            same_b = fill(self.g_ab(mirror(b, flip)), weight_b, batch.fill_b)
            nce = self.nce(b, same_b, batch.weight_b, flip, batch.progress)
            losses["g_identity"] = config.lambda_identity * nce
        yield "generator", losses

    def nce(
        self,
        source: Tensor,
        output: Tensor,
        weight: Weight,
        flip: Tensor | None,
        progress: Tensor | float,
    ) -> Tensor:
        """Return the contrastive loss of the output's patches, a mean over the layers (eq. 3)."""
        config = self.config
        with torch.no_grad():
            keys = features(self.g_ab, source, config.layers)
        queries = [mirror(one, flip) for one in features(self.g_ab, output, config.layers)]
        layers = embed(self.heads, queries, keys, config.patches, weight)
        if config.negatives == "hard":
            gamma = config.gamma + (config.gamma_end - config.gamma) * progress
            losses = [patch_hdce(patches, gamma, config.temperature) for patches in layers]
        else:
            losses = [patch_nce(patches, config.temperature) for patches in layers]
        return torch.stack(losses).mean()
