"""LPIPS: how different two images look to a network that was taught what people see."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def lpips(features: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Perceptual distance of each image (n,), from 0 on (Zhang 2018, eq. 1, version 0.1).

    `features`: (n, 3, h, w) in [-1, 1] -> [(map (n, c, ., .), head (c,)), ...]. At each place the
    channels are made a unit vector; squared differences, weighted by the head, are averaged over
    places and added up over maps. Raises ValueError where images have not 3 channels.
    """
    if x.shape != y.shape or x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(f"LPIPS compares images of 3 channels (n, 3, h, w), not "
                         f"{tuple(x.shape)} and {tuple(y.shape)}")  # fmt: skip
    total = torch.zeros(len(x), device=x.device)
    for (of_x, head), (of_y, _) in zip(features(x.float()), features(y.float()), strict=True):
        apart = (_unit(of_x) - _unit(of_y)).square()
        total += (apart * head.view(-1, 1, 1)).sum(1).mean((1, 2))
    return total


def _unit(maps: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    return maps / (length + 1e-10)
