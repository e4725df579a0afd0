"""CUT for pairs that match only in part: Adaptive Supervised PatchNCE Loss for Learning
H&E-to-IHC Stain Translation with Inconsistent Groundtruth Image Pairs (Li et al. 2023).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..batch import Batch
from ..losses import Weight, discriminator_losses, fill, pyramid_l1
from .base import Turn
from .config import PairedCUTConfig
from .contrastive import ContrastiveMethod
from .nce import embed, features, patch_nce, positive_weights


class PairedCUT(ContrastiveMethod):
    """Paired images: CUT, and each patch of the output must also resemble that of the target.
    Patches that do not match get a lower weight in the last epochs."""

    Config = PairedCUTConfig
    paired = Config.paired
    config: PairedCUTConfig

    def step(self, batch: Batch) -> Iterator[Turn]:
        a, b, weight, config = batch.a, batch.b, batch.weight_b, self.config
        fake_b = fill(self.g_ab(a), weight, batch.fill_b)

        losses = discriminator_losses(self.d_b, self.gan, b, fake_b.detach(), weight, weight)
        yield "discriminator", {f"d_{name}": loss for name, loss in losses.items()}

        losses = {  # with the discriminator's new weights
            "g_gan": config.lambda_gan * self.gan.fool(self.d_b(fake_b), weight),
            "g_nce": config.lambda_nce * self.nce(a, fake_b, weight),
        }
        if config.lambda_identity:
            same_b = fill(self.g_ab(b), weight, batch.fill_b)
            losses["g_identity"] = config.lambda_identity * self.nce(b, same_b, weight)
        if config.lambda_asp:
            left = torch.as_tensor((1 - batch.progress) / config.asp_decay).clamp(max=1)
            losses["g_asp"] = config.lambda_asp * self.nce(b, fake_b, weight, left)
        if config.lambda_pyramid:
            losses["g_pyramid"] = config.lambda_pyramid * pyramid_l1(fake_b, b, weight)
        yield "generator", losses

    def nce(
        self, source: Tensor, output: Tensor, weight: Weight, left: Tensor | None = None
    ) -> Tensor:
        """Return the contrastive loss (CUT, eq. 3), averaged over the layers.

        With `left`, the weight of a patch is left + (1 - left) max(0, cosine of output and source):
        patches that do not match count less as `left` falls (ASP).
        """
        config = self.config
        with torch.no_grad():
            keys = features(self.g_ab, source, config.layers)
        queries = features(self.g_ab, output, config.layers)
        losses = []
        for patches in embed(self.heads, queries, keys, config.patches, weight):
            weights = None if left is None else left + (1 - left) * positive_weights(patches)
            losses.append(patch_nce(patches, config.temperature, weights))
        return torch.stack(losses).mean()
