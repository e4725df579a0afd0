"""Whether a translation kept what its source shows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 5  # pixels that an edge is made of in each direction: two blurs and a difference


@torch.no_grad()
def content(source: Tensor, made: Tensor, weight: Tensor | None = None) -> Tensor:
    """How far the edges of each translation (n,) are those of its source: 1 the same, 0 unrelated.

    `source`: (n, c, h, w), `made`: (n, d, h, w), in [-1, 1]; channels may differ. The correlation
    of the two maps of gradient magnitude, after a slight blur; 0 where an image has no edge. It
    asks whether outlines lie where they lay, whatever the colours. It is no measure of quality: a
    source that was not changed at all scores 1, and where outlines must move, good work scores
    low. `weight`, (n, 1, h, w), is 0 where an image has no data: edges there, and next to it, do
    not count.
    """
    if source.ndim != 4 or made.ndim != 4 or source[:, 0].shape != made[:, 0].shape:
        raise ValueError(f"a source and its translation must be of one size, not "
                         f"{tuple(source.shape)} and {tuple(made.shape)}")  # fmt: skip
    a, b = (_edges(images.float()).double().flatten(1) for images in (source, made))
    if weight is None:
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    else:
        reach = 2 * REACH + 1
        away = 1 - F.max_pool2d(1 - weight.double(), reach, stride=1, padding=REACH).flatten(1)
        count = away.sum(1, keepdim=True).clamp(min=1)
        a, b = ((one - (one * away).sum(1, keepdim=True) / count) * away for one in (a, b))
    scale = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    # What rounding leaves of a constant image is no edge.
    seen = scale > 1e-8 * a[0].numel()
    return torch.where(seen, (a * b).sum(1) / scale.where(seen, scale.new_ones(())), 0.0).float()


def _edges(images: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, 1, h, w): the length of the gradient over all channels, blurred."""
    smooth = F.pad(_blurred(images), (1, 1, 1, 1), mode="replicate")
    across = smooth[:, :, 1:-1, 2:] - smooth[:, :, 1:-1, :-2]
    down = smooth[:, :, 2:, 1:-1] - smooth[:, :, :-2, 1:-1]
    return _blurred((across.square() + down.square()).sum(1, keepdim=True).sqrt())


def _blurred(images: Tensor) -> Tensor:
    """By a binomial filter of 5 x 5 (a Gaussian of sigma 1), the border repeated."""
    for axis, border in ((3, (2, 2, 0, 0)), (2, (0, 0, 2, 2))):
        size = images.shape[axis]
        wide = F.pad(images, border, mode="replicate")
        a, b, c, d, e = (wide.narrow(axis, start, size) for start in range(5))
        images = ((a + e) + 4 * (b + d) + 6 * c) / 16
    return images
