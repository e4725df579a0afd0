"""Adversarial objectives, the gradient penalty, and the pool of past fakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GANLossName = Literal["bce", "lsgan", "hinge", "wgan-gp"]


class GANLoss(NamedTuple):
    """Three functions of a discriminator's logits (any shape), each a mean, in float32 at least."""

    real: Callable[[Tensor], Tensor]
    """The discriminator's loss on real images."""
    fake: Callable[[Tensor], Tensor]
    """The discriminator's loss on made images."""
    fool: Callable[[Tensor], Tensor]
    """The generator's loss on its own images."""
    penalised: bool = False
    """Whether the discriminator's loss needs the gradient penalty."""


def _full(x: Tensor) -> Tensor:
    """At least float32: a mean over a map loses too much in half precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


GAN_LOSSES: dict[str, GANLoss] = {
    # pix2pix eq. 1, with the generator's -log D instead of log(1 - D) (sec. 3.3)
    "bce": GANLoss(
        real=lambda p: F.softplus(-_full(p)).mean(),
        fake=lambda p: F.softplus(_full(p)).mean(),
        fool=lambda p: F.softplus(-_full(p)).mean(),
    ),
    # CycleGAN sec. 4: least squares
    "lsgan": GANLoss(
        real=lambda p: (_full(p) - 1).square().mean(),
        fake=lambda p: _full(p).square().mean(),
        fool=lambda p: (_full(p) - 1).square().mean(),
    ),
    # Spectral normalisation, eq. 16 and 17
    "hinge": GANLoss(
        real=lambda p: F.relu(1 - _full(p)).mean(),
        fake=lambda p: F.relu(1 + _full(p)).mean(),
        fool=lambda p: -_full(p).mean(),
    ),
    # Improved training of Wasserstein GANs, eq. 3
    "wgan-gp": GANLoss(
        real=lambda p: -_full(p).mean(),
        fake=lambda p: _full(p).mean(),
        fool=lambda p: -_full(p).mean(),
        penalised=True,
    ),
}


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference, in float32 at least (pix2pix eq. 3; CycleGAN eq. 2)."""
    return (_full(x) - _full(y)).abs().mean()


def gradient_penalty(judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """(|gradient of the judge| - 1)^2 at random points between real and fake (WGAN-GP, eq. 3).

    `real` and `fake`: (n, c, h, w). The gradient is that of each image's mean score. Always in
    full precision, because it is differentiated twice.
    """
    with torch.autocast(real.device.type, enabled=False):
        share = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
        between = (share * real + (1 - share) * _full(fake)).detach().requires_grad_()
        scores = judge(between).flatten(1).mean(1).sum()
        (gradient,) = torch.autograd.grad(scores, between, create_graph=True)
        lengths: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return (lengths - 1).square().mean()


class History(nn.Module):
    """A pool of past fakes: shows the discriminator old ones half of the time (CycleGAN, sec. 4).

    While it fills, images pass and are kept. Then each image, with probability one half, takes the
    place of a random one in the pool, which goes out instead; or passes and leaves no trace. The
    choice stays on the device, so nothing waits for it, and the pool is part of the state.
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
                "the pool of past fakes holds images of one size; "
                "set its size to 0 to train on images of several"
            )
        return torch.stack([self._exchange(fake) for fake in fakes.detach()])

    def _exchange(self, new: Tensor) -> Tensor:
        full = self.filled >= self.size
        drawn = torch.randint(self.size, (1,), device=new.device)
        swap = full & (torch.rand((), device=new.device) > 0.5)
        place = torch.where(full, drawn, self.filled)
        old = self.images.index_select(0, place)[0]
        sound = new.isfinite().all()  # what is not finite is shown once, and never kept
        kept = torch.where((swap | ~full) & sound, new, old)
        self.images.index_copy_(0, place, kept[None].to(self.images.dtype))
        self.filled += (~full & sound).long()
        return torch.where(swap, old, new)

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
        """A pool that has seen no image yet takes the size of the one it is given."""
        saved = state.get(prefix + "images")
        if saved is not None:
            self.images = torch.empty_like(saved, device=self.images.device)
        super()._load_from_state_dict(state, prefix, *rest)
