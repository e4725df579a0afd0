"""LPIPS: distance between two images in the features of a network, weighted by human judgements."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def lpips(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Learned perceptual image patch similarity (Zhang 2018, eq. 1, version 0.1), from 0 on.

    Args:
        network: (n, 3, h, w) in [-1, 1] -> [(feature map (n, c, ., .), weights (c,)), ...].
        x: (n, 3, h, w) in [-1, 1].
        y: The same shape.

    Returns:
        (n,): squared differences of the normalized features, weighted over channels, averaged over
        positions and summed over feature maps.

    Raises:
        ValueError: Images do not have 3 channels, or shapes differ.
    """
    if x.shape != y.shape or x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(
            f"LPIPS compares images of 3 channels (n, 3, h, w), not {tuple(x.shape)} and "
            f"{tuple(y.shape)}"
        )
    total = torch.zeros(len(x), device=x.device)
    for (of_x, weights), (of_y, _) in zip(network(x.float()), network(y.float()), strict=True):
        difference = (_normalized(of_x) - _normalized(of_y)).square()
        total += (difference * weights.view(-1, 1, 1)).sum(1).mean((1, 2))
    return total


def _normalized(features: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (length + 1e-10)
