"""Adversarial objectives, losses of generator and discriminator, and the pool of past fakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Scores = Sequence[Tensor]  # the score maps of a discriminator, one per scale, of any shape


@dataclass(frozen=True)
class GANLoss:
    """An adversarial objective: three functions of logits, computed in float32.

    `real`, `fake` and `fool` take the score maps of a discriminator and average over all elements
    of each map, then over the maps.
    """

    name: str
    on_real: Callable[[Tensor], Tensor]
    """The discriminator's loss for logits of real images."""
    on_fake: Callable[[Tensor], Tensor]
    """The discriminator's loss for logits of generated images."""
    on_fool: Callable[[Tensor], Tensor]
    """The generator's loss for logits of its images."""
    penalized: bool = False
    """Whether the discriminator's loss includes the gradient penalty."""

    def real(self, scores: Scores) -> Tensor:
        """The discriminator's loss on real images."""
        return _mean(self.on_real, scores)

    def fake(self, scores: Scores) -> Tensor:
        """The discriminator's loss on generated images."""
        return _mean(self.on_fake, scores)

    def fool(self, scores: Scores) -> Tensor:
        """The generator's loss on its own images."""
        return _mean(self.on_fool, scores)


def _mean(loss: Callable[[Tensor], Tensor], scores: Scores) -> Tensor:
    return torch.stack([loss(_full(one)).mean() for one in scores]).mean()


def _full(x: Tensor) -> Tensor:
    """At least float32: a mean over a map loses too much in half precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


GAN_LOSSES: dict[str, GANLoss] = {
    # pix2pix eq. 1, with the generator's -log D instead of log(1 - D) (sec. 3.3)
    "bce": GANLoss("bce", lambda p: F.softplus(-p), F.softplus, lambda p: F.softplus(-p)),
    # CycleGAN sec. 4: least squares
    "lsgan": GANLoss(
        "lsgan", lambda p: (p - 1).square(), lambda p: p.square(), lambda p: (p - 1).square()
    ),
    # Spectral normalization, eq. 16 and 17
    "hinge": GANLoss("hinge", lambda p: F.relu(1 - p), lambda p: F.relu(1 + p), lambda p: -p),
    # Improved training of Wasserstein GANs, eq. 3
    "wgan-gp": GANLoss("wgan-gp", lambda p: -p, lambda p: p, lambda p: -p, penalized=True),
}


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference, in float32 at least (pix2pix eq. 3; CycleGAN eq. 2)."""
    return (_full(x) - _full(y)).abs().mean()


def discriminator_losses(
    discriminator: nn.Module,
    gan: GANLoss,
    real: Tensor,
    fake: Tensor,
    weight: float = 1.0,
    lambda_penalty: float = 10.0,
) -> dict[str, Tensor]:
    """The losses of a discriminator on real and generated images, (n, c, h, w) each.

    Args:
        discriminator: The network; it returns a list of score maps.
        gan: The adversarial objective.
        real: Real images, or pairs in the channels.
        fake: Generated images, detached from the generator.
        weight: Factor on `real` and `fake`.
        lambda_penalty: Weight of the gradient penalty, where the objective has one.

    Returns:
        `real`, `fake`, and `penalty` where the objective has one.
    """
    losses = {
        "real": weight * gan.real(discriminator(real)),
        "fake": weight * gan.fake(discriminator(fake)),
    }
    if gan.penalized:
        losses["penalty"] = lambda_penalty * gradient_penalty(discriminator, real, fake)
    return losses


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """(|gradient of the score| - 1)^2 at random points between real and fake (WGAN-GP, eq. 3).

    `real` and `fake`: (n, c, h, w). The gradient is that of each image's mean score. Always in
    float32, because it is differentiated twice.
    """
    with torch.autocast(real.device.type, enabled=False):
        fraction = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
        between = (fraction * real + (1 - fraction) * _full(fake)).detach().requires_grad_()
        scores = torch.stack([one.flatten(1).mean(1) for one in discriminator(between)]).mean(0)
        (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        lengths: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return (lengths - 1).square().mean()


class ImagePool(nn.Module):
    """Pool of past fakes: half of the time the discriminator gets an older one (CycleGAN, sec. 4).

    While the pool fills, images pass and are kept. Then each image, with probability one half,
    replaces a random one of the pool, which is returned instead; or it passes and is not kept. The
    choice stays on the device, so that nothing waits for it, and the pool is part of the state.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.empty(0))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, fakes: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w): each image, or an older one. Raises where sizes change."""
        if not self.size:
            return fakes.detach()
        if not self.images.numel():
            self.images = fakes.new_zeros(self.size, *fakes.shape[1:])
        if fakes.shape[1:] != self.images.shape[1:]:
            raise ValueError(
                "the pool of past fakes stores images of one size; set its size to 0 to train on "
                "images of several sizes"
            )
        return torch.stack([self._exchange(fake) for fake in fakes.detach()])

    def _exchange(self, new: Tensor) -> Tensor:
        full = self.filled >= self.size
        drawn = torch.randint(self.size, (1,), device=new.device)
        swap = full & (torch.rand((), device=new.device) > 0.5)
        place = torch.where(full, drawn, self.filled)
        old = self.images.index_select(0, place)[0]
        finite = new.isfinite().all()  # a non-finite image is used once and never kept
        kept = torch.where((swap | ~full) & finite, new, old)
        self.images.index_copy_(0, place, kept[None].to(self.images.dtype))
        self.filled += (~full & finite).long()
        return torch.where(swap, old, new)

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
        """An empty pool takes the size of the saved images."""
        saved = state.get(prefix + "images")
        if saved is not None:
            self.images = torch.empty_like(saved, device=self.images.device)
        super()._load_from_state_dict(state, prefix, *rest)
