"""Contrastive losses of image patches: those of CUT and of the methods based on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses import Weight, weighted_mean

MaybeTensor = TypeVar("MaybeTensor", Tensor, Tensor | None)
EXCLUDED = -10.0  # cosine of a pair of patches that is not compared; exp(-10 / 0.07) is exp(-143)


@runtime_checkable
class HasFeatures(Protocol):
    """A generator whose features can be compared."""

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]: ...

    def feature_channels(self, layers: Sequence[int]) -> list[int]: ...


class Patches(NamedTuple):
    """Patches of an output, and the patches of its source at the same positions."""

    queries: Tensor
    """Unit vectors of the output (n, patches, width)."""
    keys: Tensor
    """Unit vectors of the source, detached."""
    valid: Tensor | None = None
    """Whether the patch has data, (n, patches); None if all have."""


def random_flip(device: torch.device) -> Tensor:
    """Return true with probability 1/2, on the device."""
    return torch.rand((), device=device) < 0.5


def mirror(x: MaybeTensor, flip: Tensor | None) -> MaybeTensor:
    """Return x (n, channels, h, w), mirrored horizontally if `flip` is true."""
    return x if x is None or flip is None else torch.where(flip, x.flip(3), x)


def features(generator: nn.Module, images: Tensor, layers: Sequence[int]) -> list[Tensor]:
    """Return the features (n, channels, h, w) of these layers of a generator."""
    assert isinstance(generator, HasFeatures)
    return generator.features(images, layers)


def embed(
    heads: nn.ModuleList,
    queries: Sequence[Tensor],
    keys: Sequence[Tensor],
    count: int,
    weight: Weight = None,
) -> list[Patches]:
    """Draw patches of each layer and embed them, in float32.

    Args:
        heads: The networks of `make_heads`.
        queries: Features of the output by layer.
        keys: Features of the source.
        count: Number of patches; a smaller map has as many as positions.
        weight: Weight of each pixel of the source; patches are drawn where it is not 0.
    """
    embedded = []
    for head, query, key in zip(heads, queries, keys, strict=True):
        positions, valid = draw_positions(key, count, weight)
        with torch.autocast(key.device.type, enabled=False):
            dtype = next(head.parameters()).dtype
            q, k = (unit(head(_at(one, positions).to(dtype))) for one in (query, key))
        embedded.append(Patches(q, k.detach(), valid))
    return embedded


def draw_positions(
    features: Tensor, count: int, weight: Weight = None
) -> tuple[Tensor, Tensor | None]:
    """Draw positions of a feature map without replacement.

    Returns:
        Positions (1, patches) for all images; with a weight, (n, patches) for each image, and
        whether the position has data. There are fewer with data if the image has fewer.
    """
    images, _, height, width = features.shape
    count = min(count, height * width)
    if weight is None:
        order = torch.rand(1, height * width, device=features.device)
        return order.topk(count).indices, None
    data = F.adaptive_avg_pool2d(weight, (height, width)).flatten(1) > 0
    order = torch.rand(images, height * width, device=features.device)
    order, positions = order.masked_fill(~data, -1).topk(count)
    return positions, order >= 0


def _at(features: Tensor, positions: Tensor) -> Tensor:
    """Return the features at some positions, (n, patches, channels)."""
    images, channels = features.shape[:2]
    index = positions[:, None].expand(images, channels, -1)
    return features.flatten(2).gather(2, index).transpose(1, 2)


def unit(vectors: Tensor) -> Tensor:
    """Return v / (norm of v + 1e-7); small vectors get a norm below 1, as in CUT's code."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / (norms + 1e-7)


def patch_nce(patches: Patches, temperature: float = 0.07, weights: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of finding the key of each query in its image (CUT, eq. 2).

    Args:
        patches: The patches.
        temperature: Divisor of the cosines.
        weights: Weight of each patch (n, patches) in the mean of its image; None: a plain mean.
    """
    return _mean(-F.logsigmoid(-_log_odds(patches, temperature)), patches, weights)


def positive_weights(patches: Patches) -> Tensor:
    """Return max(0, cosine of query and key) of each patch (n, patches), detached (ASP)."""
    return F.relu((patches.queries * patches.keys).sum(2)).detach()


def patch_hdce(patches: Patches, gamma: Tensor | float, temperature: float = 0.07) -> Tensor:
    """Return the mean hDCE loss: hard negatives, and no positive in the denominator.

    The cosine of a negative counts by exp((similarity - largest similarity) / gamma) of its key to
    the key of the query (Jung et al. 2022, Exploring Patch-wise Semantic Relation).
    """
    keys = unit(patches.keys)
    similarity = _cosines(keys, keys).masked_fill(_not_compared(patches), EXCLUDED)
    factors = ((similarity - similarity.amax(2, keepdim=True)) / gamma).exp()
    return _mean(_log_odds(patches, temperature, factors), patches)


def _log_odds(patches: Patches, temperature: float, factors: Tensor | None = None) -> Tensor:
    """Return log(sum of exp(negatives / temperature)) - positive / temperature, (n, patches)."""
    cosines = _cosines(patches.queries, patches.keys)
    positives = cosines.diagonal(dim1=1, dim2=2)[..., None]
    negatives = cosines if factors is None else factors * cosines
    negatives = negatives.masked_fill(_not_compared(patches), EXCLUDED)
    return ((negatives - positives) / temperature).logsumexp(2)


def _cosines(one: Tensor, two: Tensor) -> Tensor:
    with torch.autocast(one.device.type, enabled=False):
        return one @ two.transpose(1, 2)


def _not_compared(patches: Patches) -> Tensor:
    """Return whether a key is no negative of a query: the same patch, or one without data."""
    count = patches.keys.shape[1]
    own = torch.eye(count, dtype=torch.bool, device=patches.keys.device)
    return own if patches.valid is None else own | ~patches.valid[:, None]


def _mean(values: Tensor, patches: Patches, weights: Tensor | None = None) -> Tensor:
    """Return the mean over the patches with data of each image, then over the images."""
    if patches.valid is not None:
        valid = patches.valid.to(values.dtype)
        weights = valid if weights is None else weights * valid
    return weighted_mean(values[:, None], None if weights is None else weights[:, None])
