"""Images as the Inception network wants them. The filter is part of the protocol of FID and KID."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

SIDE = 299


def resized(images: Tensor) -> Tensor:
    """(n, 3, h, w) uint8, RGB -> (n, 3, 299, 299) float32 of (value - 128) / 128.

    The filter is Pillow's bicubic one on each channel as 32-bit floats (a = -0.5, widened where an
    image shrinks, nothing rounded or clipped after it), which clean-FID recommends.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"features are made of uint8 images (n, 3, h, w), "
            f"not of {images.dtype} {tuple(images.shape)}"
        )
    channels = images.cpu().flatten(0, 1).numpy().astype(np.float32)
    made = [
        np.asarray(Image.fromarray(channel).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        for channel in channels
    ]
    planes = torch.from_numpy(np.stack(made)) if made else torch.empty(0, SIDE, SIDE)
    return (planes.view(len(images), 3, SIDE, SIDE) - 128) / 128


@torch.no_grad()
def pool3(inception: nn.Module, images: Tensor, batch_size: int = 16) -> Tensor:
    """(n, 3, h, w) uint8, RGB -> (n, 2048) float64 on the CPU: what FID and KID compare.

    `inception`: on whichever device; it sees `batch_size` images at once.
    """
    device = next(inception.parameters()).device
    found = [
        inception(resized(some).to(device)).double().cpu()
        for some in torch.split(images, batch_size)
    ]
    return torch.cat(found)
