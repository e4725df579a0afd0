"""Pool of past fake images (CycleGAN, sec. 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..losses import Weight


class ImagePool(nn.Module):
    """Pool of previously generated images for the discriminator (CycleGAN, sec. 4).

    While the pool fills, images are stored and returned. Then each image is, with probability 0.5,
    exchanged with a random image of the pool, or returned and not stored. The random choice stays
    on the device, which needs no synchronization. The pool is part of the checkpoint; it starts
    again if images have weights and those in it have none, or the reverse.

    Args:
        size: Number of images in the pool; 0 returns every image unchanged.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.empty(0))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, fakes: Tensor, weight: Weight = None) -> tuple[Tensor, Weight]:
        """Return each image of (n, channels, h, w), or an older one in its place, with its weight.

        The weight (n, 1, h, w) is stored with the image, as its last channel.

        Raises:
            ValueError: The images have another size than those in the pool.
        """
        if not self.size:
            return fakes.detach(), weight
        if weight is not None:
            drawn, _ = self(torch.cat([fakes, weight], dim=1))
            return drawn[:, :-1], drawn[:, -1:]
        if not self.images.numel() or fakes.shape[1] != self.images.shape[1]:
            self.images = fakes.new_zeros(self.size, *fakes.shape[1:])
            self.filled.zero_()
        if fakes.shape[1:] != self.images.shape[1:]:
            raise ValueError(
                "the image pool stores images of one size; set its size to 0 to train on images of "
                "several sizes"
            )
        return torch.stack([self.exchange(fake) for fake in fakes.detach()]), None

    def exchange(self, new: Tensor) -> Tensor:
        """Return an image (channels, h, w), or an older one in its place."""
        full = self.filled >= self.size
        drawn = torch.randint(self.size, (1,), device=new.device)
        swap = full & (torch.rand((), device=new.device) > 0.5)
        index = torch.where(full, drawn, self.filled)
        old = self.images.index_select(0, index)[0]
        finite = new.isfinite().all()  # a non-finite image is never stored
        kept = torch.where((swap | ~full) & finite, new, old)
        self.images.index_copy_(0, index, kept[None].to(self.images.dtype))
        self.filled += (~full & finite).long()
        return torch.where(swap, old, new)

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
        """Give an empty pool the size of the saved images."""
        saved = state.get(prefix + "images")
        if saved is not None:
            self.images = torch.empty_like(saved, device=self.images.device)
        super()._load_from_state_dict(state, prefix, *rest)
