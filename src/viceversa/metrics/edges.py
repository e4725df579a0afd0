"""Correlation of edges: whether a translation keeps the structure of its source."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 5  # px that an edge depends on in each direction: two blurs and a difference


@torch.no_grad()
def edge_correlation(source: Tensor, output: Tensor, weight: Tensor | None = None) -> Tensor:
    """Correlation between the edges of each translation and of its source: 1 equal, 0 unrelated.

    The correlation of the two maps of gradient magnitude after a slight blur; 0 if an image has no
    edges. It compares where outlines are, whatever the colours. It does not measure quality: an
    unchanged source scores 1, and where outlines have to move good translations score low.

    Args:
        source: (n, c, h, w) in [-1, 1].
        output: (n, d, h, w) in [-1, 1].
        weight: (n, 1, h, w), 0 where an image has no data; edges there and beside it are left out.

    Returns:
        (n,) in [-1, 1].
    """
    if source.ndim != 4 or output.ndim != 4 or source[:, 0].shape != output[:, 0].shape:
        raise ValueError(
            f"a source and its translation must have one size, not {tuple(source.shape)} and "
            f"{tuple(output.shape)}"
        )
    a, b = (_edges(images.float()).double().flatten(1) for images in (source, output))
    if weight is None:
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    else:
        window = 2 * REACH + 1
        valid = 1 - F.max_pool2d(1 - weight.double(), window, stride=1, padding=REACH).flatten(1)
        count = valid.sum(1, keepdim=True).clamp(min=1)
        a, b = ((one - (one * valid).sum(1, keepdim=True) / count) * valid for one in (a, b))
    scale = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    has_edges = scale > 1e-8 * a[0].numel()  # more than the rounding errors of a constant image
    correlation = (a * b).sum(1) / scale.where(has_edges, scale.new_ones(()))
    return torch.where(has_edges, correlation, 0.0).float()


def _edges(images: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, 1, h, w): blurred magnitude of the gradient over all channels."""
    smooth = F.pad(_blurred(images), (1, 1, 1, 1), mode="replicate")
    dx = smooth[:, :, 1:-1, 2:] - smooth[:, :, 1:-1, :-2]
    dy = smooth[:, :, 2:, 1:-1] - smooth[:, :, :-2, 1:-1]
    return _blurred((dx.square() + dy.square()).sum(1, keepdim=True).sqrt())


def _blurred(images: Tensor) -> Tensor:
    """Blur with a 5 x 5 binomial filter (a Gaussian of sigma 1), replicating the border."""
    for axis, border in ((3, (2, 2, 0, 0)), (2, (0, 0, 2, 2))):
        size = images.shape[axis]
        wide = F.pad(images, border, mode="replicate")
        a, b, c, d, e = (wide.narrow(axis, start, size) for start in range(5))
        images = ((a + e) + 4 * (b + d) + 6 * c) / 16
    return images
