"""Features of the Inception network. The resize filter is part of the protocol of FID and KID."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

SIDE = 299


def resized(images: Tensor) -> Tensor:
    """Resize images for the Inception network.

    The filter is Pillow's bicubic one (a = -0.5, antialiased) on each channel as float32, without
    rounding or clipping, as recommended by clean-FID.

    Args:
        images: (n, 3, h, w) uint8, RGB.

    Returns:
        (n, 3, 299, 299) float32 of (value - 128) / 128.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"features need uint8 images (n, 3, h, w), not {images.dtype} {tuple(images.shape)}"
        )
    channels = images.cpu().flatten(0, 1).numpy().astype(np.float32)
    planes = [
        np.asarray(Image.fromarray(channel).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        for channel in channels
    ]
    values = torch.from_numpy(np.stack(planes)) if planes else torch.empty(0, SIDE, SIDE)
    return (values.view(len(images), 3, SIDE, SIDE) - 128) / 128


@torch.no_grad()
def pool3(inception: nn.Module, images: Tensor, batch_size: int = 16) -> Tensor:
    """Return the features that FID and KID compare.

    Args:
        inception: The network, on any device.
        images: (n, 3, h, w) uint8, RGB.
        batch_size: Number of images in a call of the network.

    Returns:
        (n, 2048) float64 on the CPU.
    """
    device = next(inception.parameters()).device
    return torch.cat(
        [
            inception(resized(batch).to(device)).double().cpu()
            for batch in torch.split(images, batch_size)
        ]
    )
