"""The adversarial objective that the options of a method define."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from ..losses import GAN_LOSSES, GANLoss
from .config import AdversarialConfig


def make_objective(config: AdversarialConfig) -> GANLoss:
    """Return the objective `method.gan_loss`, with the weights and label smoothing."""
    gan = GAN_LOSSES[config.gan_loss]
    if config.label_smoothing:
        gan = label_smoothed(gan, config.label_smoothing)
    return replace(
        gan,
        d_weight=config.d_weight,
        lambda_penalty=config.lambda_penalty,
        lambda_r1=config.lambda_r1,
    )


def label_smoothed(gan: GANLoss, smoothing: float) -> GANLoss:
    """Return the objective whose target for real images is 1 - smoothing (Salimans et al. 2016).

    The target for fake images, and the generator's, stay the same (one-sided, sec. 3.4).

    Args:
        gan: The objective `bce` or `lsgan`; the others have no targets.
        smoothing: The difference from 1, from 0 to 1.
    """
    on_real: dict[str, Callable[[Tensor], Tensor]] = {
        "bce": lambda p: F.softplus(-p) + smoothing * p,  # cross-entropy, simplified
        "lsgan": lambda p: (p - (1 - smoothing)).square(),
    }
    return replace(gan, on_real=on_real[gan.name])
