"""Settings of the methods."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..fields import choice, number

PACKAGED_LOSSES = "bce", "lsgan", "hinge", "wgan-gp"


def gan_loss_option(default: str) -> str:
    """Return a field for the name of an adversarial loss, which may be the user's own."""

    def registered() -> Iterable[str]:
        from ..losses import GAN_LOSSES

        return GAN_LOSSES

    return choice(default, PACKAGED_LOSSES, registered)


@dataclass(frozen=True)
class AdversarialConfig:
    """Options of the adversarial loss, which all methods share."""

    gan_loss: str = gan_loss_option("lsgan")
    """Adversarial loss: bce, lsgan, hinge, wgan-gp, or a user-defined one (--import)."""
    lambda_gan: float = number(1.0, min=0)
    """Weight of the adversarial loss."""
    d_weight: float = number(0.5, min=0)
    """Factor on the discriminator's loss."""
    lambda_penalty: float = number(10.0, min=0)
    """Weight of the gradient penalty (`wgan-gp`)."""
    lambda_r1: float = number(0.0, min=0)
    """Weight of R1, the squared gradient of the discriminator's mean score at real images."""
    label_smoothing: float = number(0.0, min=0, max=0.5)
    """The discriminator's target for real images is 1 minus this (bce, lsgan); 0.1 is usual."""

    def __post_init__(self) -> None:
        if self.label_smoothing and self.gan_loss not in ("bce", "lsgan"):
            raise ValueError(
                "method.label_smoothing is defined for method.gan_loss bce and lsgan, not for "
                f"{self.gan_loss}, whose loss has no target for real images; set it to 0"
            )


@dataclass(frozen=True)
class Pix2PixConfig(AdversarialConfig):
    paired: ClassVar[bool] = True
    gan_loss: str = gan_loss_option("bce")
    """Adversarial loss: bce, lsgan, hinge, wgan-gp, or a user-defined one (--import)."""
    lambda_gan: float = number(1.0, min=0)
    """Weight of the adversarial loss; 0 trains without a discriminator."""
    lambda_l1: float = number(100.0, min=0)
    """Weight of the L1 loss (eq. 4)."""
    conditional: bool = True
    """The discriminator's input is the pair; false: b alone, the paper's ablation."""
    lambda_features: float = number(0.0, min=0)
    """Weight of feature matching: L1 between the discriminator's activations for fake and real
    images (pix2pixHD, sec. 3.2)."""
    lambda_perceptual: float = number(0.0, min=0)
    """Weight of the perceptual loss: L1 between features of a network trained on ImageNet."""
    perceptual_network: Literal["vgg", "alexnet"] = "vgg"
    """Network of the perceptual loss (viceversa features --get vgg); the target must be RGB."""
    d_weight: float = number(0.5, min=0)
    """Factor on the discriminator's loss (sec. 3.3: it learns half as fast)."""


@dataclass(frozen=True)
class CycleGANConfig(AdversarialConfig):
    paired: ClassVar[bool] = False
    lambda_cycle: float = number(10.0, min=0)
    """Weight of the cycle loss in both directions (eq. 3)."""
    lambda_identity: float = number(5.0, min=0)
    """Weight of the identity loss (sec. 5.2: preserves colors); 0 is a third faster."""
    d_weight: float = number(0.5, min=0)
    """Factor on the discriminators' losses (sec. 4: they learn half as fast)."""
    pool_size: int = number(50, min=0)
    """Size of the pool of past fakes per domain (sec. 4); 0: no pool."""


@dataclass(frozen=True)
class ContrastiveConfig(AdversarialConfig):
    """Options of the contrastive loss of patches."""

    layers: tuple[int, ...] = number((0, 4, 8, 12, 16), min=0)
    """Layers of the generator that are compared (resnet: modules; unet: levels, such as 0 1 2)."""
    patches: int = number(256, min=2)
    """Patches per image and layer."""
    head_width: int = number(256, min=1)
    """Channels of the embedding of a patch."""
    temperature: float = number(0.07, min=0.001, max=1)
    """Temperature of the contrastive loss (eq. 2)."""


@dataclass(frozen=True)
class CUTConfig(ContrastiveConfig):
    paired: ClassVar[bool] = False
    lambda_nce: float = number(0.5, min=0)
    """Weight of the contrastive loss of outputs against their sources (eq. 3)."""
    lambda_identity: float = number(0.5, min=0)
    """Weight of the contrastive loss of images of B translated to B."""
    flip_equivariance: bool = False
    """Mirror the generator's input with probability 1/2, and its features back (FastCUT)."""
    negatives: Literal["equal", "hard"] = "equal"
    """Weights of negative patches: equal, or hard (hDCE: larger if they resemble the positive)."""
    gamma: float = number(50.0, min=0.01)
    """Gamma of hard negatives at the start of training; a smaller one prefers the hardest more."""
    gamma_end: float = number(10.0, min=0.01)
    """Gamma of hard negatives at the end of training."""


@dataclass(frozen=True)
class PairedCUTConfig(ContrastiveConfig):
    paired: ClassVar[bool] = True
    lambda_nce: float = number(10.0, min=0)
    """Weight of the contrastive loss of outputs against their sources."""
    lambda_identity: float = number(10.0, min=0)
    """Weight of the contrastive loss of images of B translated to B; 0 leaves it out."""
    lambda_asp: float = number(10.0, min=0)
    """Weight of the contrastive loss of outputs against their targets (ASP); 0 leaves it out."""
    asp_decay: float = number(0.25, min=0.01, max=1)
    """Last fraction of the epochs, in which the weight of patches that do not match falls to 0."""
    lambda_pyramid: float = number(10.0, min=0)
    """Weight of the L1 loss of a Gaussian pyramid of outputs and targets; 0 leaves it out."""


@dataclass(frozen=True)
class RegistrationConfig:
    """Options of the methods with a registration network."""

    paired: ClassVar[bool] = True
    lambda_correction: float = number(20.0, min=0)
    """Weight of the L1 loss of the registered output; 0 trains without registration."""
    lambda_smoothness: float = number(10.0, min=0)
    """Weight of the smoothness of the flow."""
    lambda_shift: float = number(5.0, min=0)
    """Weight of the squared mean flow of each pair, which keeps outputs in place; paper: 0."""
    registration_width: int = number(32, min=1)
    """Channels of the first level of the registration network; the others have twice as many."""


@dataclass(frozen=True)
class RegGANConfig(RegistrationConfig, AdversarialConfig):
    lambda_gan: float = number(1.0, min=0)
    """Weight of the adversarial loss; 0 trains without a discriminator."""
    d_weight: float = number(1.0, min=0)
    """Factor on the discriminator's loss."""


@dataclass(frozen=True)
class CycleGANRegConfig(RegistrationConfig, CycleGANConfig):
    pass
