"""Sliced Wasserstein distance between two sets of images: of their patches, scale by scale."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .limits import SWD_SIDE

PATCH = 7  # px a side (Karras 2018, sec. 5)
PATCHES = 4096  # of each set, at each scale
PROJECTIONS = 128
CHUNK = 16  # images whose pyramids are in memory at once


@torch.no_grad()
def swd(x: Tensor, y: Tensor, seed: int = 0) -> float:
    """Sliced Wasserstein distance of a set from a set of real images, from 0 on.

    The mean over the scales of a Laplacian pyramid down to 16 pixels (Karras 2018, sec. 5), of
    equally many 7 x 7 patches of both sets. Their channels are whitened by `y` at that scale, so
    that wrong colours and contrasts count; the paper divides each set by its own deviations.

    Args:
        x: Outputs (n, c, h, w) in [-1, 1].
        y: Real images (m, c, h, w) in [-1, 1].
        seed: Seed of the patches and projections; no global random number is drawn.

    Raises:
        ValueError: The sets differ in channels or size, or are smaller than 16 pixels a side.
    """
    if x.ndim != 4 or y.ndim != 4 or x.shape[1:] != y.shape[1:] or not (len(x) and len(y)):
        raise ValueError(
            f"sets to compare must be images of one size, not {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if min(x.shape[2:]) < SWD_SIDE:
        raise ValueError(
            f"SWD needs images of at least {SWD_SIDE} x {SWD_SIDE} pixels, not {x.shape[3]} x "
            f"{x.shape[2]}"
        )
    generator = torch.Generator().manual_seed(seed)
    # Patches of both sets have the same positions, so that only the images differ.
    positions = torch.rand(_scales(x), PATCHES, 2, generator=generator)
    distances = []
    for of_x, of_y in zip(_patches(x, positions), _patches(y, positions), strict=True):
        mean, whitening = of_y.mean((0, 2), keepdim=True), _whitening(of_y)
        axes = torch.randn(of_y[0].numel(), PROJECTIONS, generator=generator)
        axes = (axes / axes.norm(dim=0)).to(of_y.device)
        projected = [
            ((whitening @ (one - mean)).flatten(1) @ axes).sort(0).values for one in (of_x, of_y)
        ]
        distances.append((projected[0] - projected[1]).abs().mean())
    return float(torch.stack(distances).mean())


def _whitening(patches: Tensor) -> Tensor:
    """Return the (c, c) matrix that gives patches (p, c, k) uncorrelated channels of deviation 1.

    Channels of photographs are nearly equal; without whitening colour would hardly count. What
    varies less than a tenth of what varies most, such as colour noise, is not amplified further.
    """
    channels = patches.transpose(1, 2).flatten(0, 1).double()
    variances, axes = torch.linalg.eigh(torch.cov(channels.T).view(len(channels[0]), -1))
    deviations = variances.clamp(min=0).sqrt()
    deviations = deviations.clamp(min=max(0.1 * float(deviations.max()), 1e-3))
    matrix: Tensor = axes / deviations @ axes.T
    return matrix.to(patches.dtype)


def _scales(x: Tensor) -> int:
    """Number of levels of a pyramid whose smallest side is 16 pixels or slightly more."""
    return int(min(x.shape[2:]) // SWD_SIDE).bit_length()


def _patches(images: Tensor, positions: Tensor) -> list[Tensor]:
    """Patches (PATCHES, c, 49) of each scale, equally many of each image."""
    owner = torch.arange(PATCHES) * len(images) // PATCHES
    scales: list[list[Tensor]] = [[] for _ in positions]
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        own = ((owner >= start) & (owner < start + len(chunk))).nonzero().flatten()
        for i, level in enumerate(_pyramid(chunk, len(positions))):
            scales[i].append(_cut(level, owner[own] - start, positions[i, own]))
    return [torch.cat(patches) for patches in scales]


def _pyramid(images: Tensor, scales: int) -> list[Tensor]:
    """Laplacian pyramid, finest first: differences from the next coarser level, then that level."""
    levels = []
    finer = images.float()
    for _ in range(scales - 1):
        coarser = F.avg_pool2d(finer, 2)
        upsampled = F.interpolate(coarser, finer.shape[2:], mode="bilinear", align_corners=False)
        levels.append(finer - upsampled)
        finer = coarser
    return [*levels, finer]


def _cut(level: Tensor, owner: Tensor, positions: Tensor) -> Tensor:
    """Cut patches (p, c, 49) from images `owner` (p,) at `positions` (p, 2), relative to the size
    of a level."""
    limit = torch.tensor(level.shape[2:]) - PATCH + 1
    corner = (positions * limit).long().minimum(limit - 1)
    offsets = torch.arange(PATCH)
    rows = (corner[:, 0, None] + offsets)[:, :, None]
    columns = (corner[:, 1, None] + offsets)[:, None, :]
    index = [one.to(level.device) for one in (owner[:, None, None], rows, columns)]
    return level.permute(0, 2, 3, 1)[index[0], index[1], index[2]].flatten(1, 2).transpose(1, 2)
