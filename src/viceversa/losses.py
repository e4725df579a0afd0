"""GAN objectives, L1 losses and gradient penalties."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Scores = Sequence[Tensor]
"""Score maps of a discriminator, one per scale, of any shape."""
PERCEPTUAL_WEIGHTS = 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0
"""Weights of the features of a perceptual loss, from the first to the deepest (pix2pixHD)."""
Weight = Tensor | None
"""Weight of each pixel, (n, 1, h, w) in [0, 1]; None: 1 everywhere."""


@dataclass(frozen=True)
class GANLoss:
    """GAN objective: three functions of logits, computed in float32.

    `real`, `fake` and `fool` average over the elements of each score map, then over the maps. With
    a weight per pixel, the weight of a score is the mean weight of the pixels in its cell.
    """

    name: str
    on_real: Callable[[Tensor], Tensor]
    """Loss of the discriminator for logits of real images."""
    on_fake: Callable[[Tensor], Tensor]
    """Loss of the discriminator for logits of fake images."""
    on_fool: Callable[[Tensor], Tensor]
    """Loss of the generator for logits of its fake images."""
    penalized: bool = False
    """Whether the loss of the discriminator includes the gradient penalty."""
    d_weight: float = 1.0
    """Factor on the losses of the discriminator, but not on its penalties."""
    lambda_penalty: float = 10.0
    """Weight of the gradient penalty."""
    lambda_r1: float = 0.0
    """Weight of R1."""

    @property
    def differentiated_twice(self) -> bool:
        """Whether the loss of the discriminator contains its gradient with respect to images."""
        return self.penalized or self.lambda_r1 > 0

    def real(self, scores: Scores, weight: Weight = None) -> Tensor:
        """Return the loss of the discriminator on real images."""
        return _mean(self.on_real, scores, weight)

    def fake(self, scores: Scores, weight: Weight = None) -> Tensor:
        """Return the loss of the discriminator on fake images."""
        return _mean(self.on_fake, scores, weight)

    def fool(self, scores: Scores, weight: Weight = None) -> Tensor:
        """Return the loss of the generator on its fake images."""
        return _mean(self.on_fool, scores, weight)


def _mean(loss: Callable[[Tensor], Tensor], scores: Scores, weight: Weight) -> Tensor:
    maps = [loss(at_least_float32(one)) for one in scores]
    return torch.stack([weighted_mean(one, _resized(weight, one)) for one in maps]).mean()


def _resized(weight: Weight, scores: Tensor) -> Weight:
    if weight is None:
        return None
    height, width = scores.shape[2:]
    return F.adaptive_avg_pool2d(weight, (height, width))


def weighted_mean(values: Tensor, weight: Weight) -> Tensor:
    """Return the weighted mean of each image, averaged over the images.

    Args:
        values: (n, channels, h, w), finite.
        weight: (n, 1, h, w) in [0, 1]; an image whose weights are all 0 counts as 0. None: the
            plain mean of `values`, which may have any shape.
    """
    if weight is None:
        return values.mean()
    sums = (values.mean(dim=1, keepdim=True) * weight).flatten(1).sum(dim=1)
    return (sums / weight.flatten(1).sum(dim=1).clamp(min=1e-8)).mean()


def fill(images: Tensor, weight: Weight, value: float) -> Tensor:
    """Return images (n, channels, h, w) with a value where the weight (n, 1, h, w) is 0."""
    return images if weight is None else torch.where(weight > 0, images, value)


def at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision to float32: a mean over a score map would lose too much."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


GAN_LOSSES: dict[str, GANLoss] = {
    # pix2pix, eq. 1; the generator minimizes -log D instead of log(1 - D) (sec. 3.3)
    "bce": GANLoss("bce", lambda p: F.softplus(-p), F.softplus, lambda p: F.softplus(-p)),
    # CycleGAN, sec. 4: least squares
    "lsgan": GANLoss(
        "lsgan", lambda p: (p - 1).square(), lambda p: p.square(), lambda p: (p - 1).square()
    ),
    # Miyato et al., Spectral Normalization for GANs, eq. 16 and 17
    "hinge": GANLoss("hinge", lambda p: F.relu(1 - p), lambda p: F.relu(1 + p), lambda p: -p),
    # Gulrajani et al., Improved Training of Wasserstein GANs, eq. 3
    "wgan-gp": GANLoss("wgan-gp", lambda p: -p, lambda p: p, lambda p: -p, penalized=True),
}
"""Name -> GAN objective; `method.gan_loss` names one."""


def l1(x: Tensor, y: Tensor, weight: Weight = None) -> Tensor:
    """Return the mean absolute difference (pix2pix, eq. 3; CycleGAN, eq. 2).

    Args:
        x: A tensor of any shape, with a weight (n, channels, h, w); half precision is converted to
            float32.
        y: A tensor of the same shape.
        weight: Weight of each pixel.
    """
    return weighted_mean((at_least_float32(x) - at_least_float32(y)).abs(), weight)


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor], weight: Weight) -> Tensor:
    """Return 4 times the mean, over activations, of their L1 distance (pix2pixHD, sec. 3.2).

    The factor is that of its code, which has 4 activations per scale.

    Args:
        fake: Activations of the discriminator for a fake image, (n, c, h, w) each.
        real: Those for the real image; no gradient reaches them.
        weight: Weight of each pixel of the images.
    """
    return 4 * torch.stack(_distances(fake, real, weight)).mean()


def perceptual(fake: Sequence[Tensor], real: Sequence[Tensor], weight: Weight) -> Tensor:
    """Return the L1 distance of features of two images (Johnson et al. 2016; pix2pixHD, sec. 3.2).

    Args:
        fake: Features of a frozen network for a fake image, (n, c, h, w) each.
        real: Those for the real image.
        weight: Weight of each pixel of the images.
    """
    distances = zip(PERCEPTUAL_WEIGHTS, _distances(fake, real, weight), strict=True)
    return torch.stack([factor * distance for factor, distance in distances]).sum()


def _distances(fake: Sequence[Tensor], real: Sequence[Tensor], weight: Weight) -> list[Tensor]:
    pairs = zip(fake, real, strict=True)
    return [l1(one, other.detach(), _resized(weight, one)) for one, other in pairs]


def pyramid_l1(x: Tensor, y: Tensor, weight: Weight = None, levels: int = 5) -> Tensor:
    """Return the L1 loss of the levels of a Gaussian pyramid, the coarsest with weight 1.

    The images are repeatedly blurred by a binomial kernel of 5 pixels and halved. The loss is the
    mean of the L1 losses of the blurred images, with weights ..., 1/16, 1/8, 1/4 from fine to
    coarse, and of the last halved images (Li et al. 2023, Adaptive Supervised PatchNCE).

    Args:
        x: Images (n, channels, h, w).
        y: Images of the same shape.
        weight: Weight of each pixel.
        levels: Number of halvings; small images have fewer.
    """
    x, y = at_least_float32(x), at_least_float32(y)
    losses: list[Tensor] = []
    while len(losses) < levels and min(x.shape[2:]) > 2:  # the padding reflects two pixels
        x, y = _blurred(x), _blurred(y)
        losses.append(l1(x, y, _resized(weight, x)))
        x, y = x[..., ::2, ::2], y[..., ::2, ::2]
    factors = [0.5**power for power in range(len(losses) + 1, 1, -1)] + [1.0]
    losses.append(l1(x, y, _resized(weight, x)))
    return torch.stack([f * loss for f, loss in zip(factors, losses, strict=True)]).mean()


def _blurred(x: Tensor) -> Tensor:
    """Blur images (n, channels, h, w) by the kernel [1, 4, 6, 4, 1] / 16 in both directions."""
    x = F.pad(x, (2, 2, 2, 2), mode="reflect")
    for dim in (2, 3):
        parts = [x.narrow(dim, shift, x.shape[dim] - 4) for shift in range(5)]
        x = (parts[0] + 4 * parts[1] + 6 * parts[2] + 4 * parts[3] + parts[4]) / 16
    return x


def discriminator_losses(
    discriminator: nn.Module,
    gan: GANLoss,
    real: Tensor,
    fake: Tensor,
    real_weight: Weight = None,
    fake_weight: Weight = None,
) -> dict[str, Tensor]:
    """Return the losses of a discriminator on real and fake images.

    Args:
        discriminator: The network; it returns a list of score maps.
        gan: The GAN objective, with the weights of the losses.
        real: Real images (n, channels, h, w); for a conditional discriminator, joined with the
            source images in the channels.
        fake: Fake images of the same shape, detached from the generator.
        real_weight: Weight of each pixel of the real images.
        fake_weight: Weight of each pixel of the fake images.

    Returns:
        The losses `real` and `fake`, `penalty` if the objective has one, and `r1` if its weight is
        not 0.
    """
    losses = {
        "real": gan.d_weight * gan.real(discriminator(real), real_weight),
        "fake": gan.d_weight * gan.fake(discriminator(fake), fake_weight),
    }
    if gan.penalized:
        losses["penalty"] = gan.lambda_penalty * gradient_penalty(discriminator, real, fake)
    if gan.lambda_r1:
        losses["r1"] = gan.lambda_r1 * r1(discriminator, real)
    return losses


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return (norm of the gradient - 1)^2 at random points between real and fake (WGAN-GP, eq. 3).

    The gradient is that of the mean score of each image, and is always computed in float32, since
    it is differentiated twice.

    Args:
        discriminator: The network; it returns a list of score maps.
        real: Real images (n, channels, h, w).
        fake: Fake images of the same shape.
    """
    with torch.autocast(real.device.type, enabled=False):
        fraction = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
        between = fraction * real + (1 - fraction) * at_least_float32(fake)
        gradient = _image_gradient(discriminator, between)
        norms: Tensor = torch.linalg.vector_norm(gradient, dim=1)
        return (norms - 1).square().mean()


def r1(discriminator: nn.Module, real: Tensor) -> Tensor:
    """Return the squared norm of the gradient at real images (Mescheder et al. 2018, eq. 9).

    The gradient is that of the mean score of each image, as in `gradient_penalty`. The paper's
    weight is gamma / 2.

    Args:
        discriminator: The network; it returns a list of score maps.
        real: Real images (n, channels, h, w).
    """
    with torch.autocast(real.device.type, enabled=False):
        return _image_gradient(discriminator, at_least_float32(real)).square().sum(1).mean()


def _image_gradient(discriminator: nn.Module, images: Tensor) -> Tensor:
    """Return the gradient (n, values) of the mean score of each image, differentiable."""
    images = images.detach().requires_grad_()
    scores = torch.stack([one.flatten(1).mean(1) for one in discriminator(images)]).mean(0)
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.flatten(1)
