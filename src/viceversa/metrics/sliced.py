"""A distance between two sets of images that needs no network: of their patches, scale by scale."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SWD_LEAST = 16  # pixels a side
PATCH = 7  # pixels a side (Karras 2018, sec. 5)
PATCHES = 4096  # of each set, at each scale
DIRECTIONS = 128
TOGETHER = 16  # images whose pyramids are in memory at once


@torch.no_grad()
def swd(x: Tensor, y: Tensor, seed: int = 0) -> float:
    """Sliced Wasserstein distance of a set from a set of real images, from 0 on (Karras 2018,
    sec. 5): the mean over the scales of a Laplacian pyramid, down to 16 pixels.

    `x`: (n, c, h, w), `y`: (m, c, h, w), in [-1, 1]. Of each set, equally many patches of 7 x 7,
    with channels whitened as `y` needs it at that scale, so that wrong colours and contrasts count:
    the paper divides each set by its own deviations. Depends on `seed` alone. Raises ValueError
    where the sets differ in channels or size, and below 16 pixels a side.
    """
    if x.ndim != 4 or y.ndim != 4 or x.shape[1:] != y.shape[1:] or not (len(x) and len(y)):
        raise ValueError(f"sets to compare must be images of one size, not {tuple(x.shape)} and "
                         f"{tuple(y.shape)}")  # fmt: skip
    if min(x.shape[2:]) < SWD_LEAST:
        raise ValueError(f"SWD needs images of at least {SWD_LEAST} x {SWD_LEAST} pixels, "
                         f"not {x.shape[3]} x {x.shape[2]}")  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    # Each set is asked at the same places: what differs is the images.
    places = torch.rand(_scales(x), PATCHES, 2, generator=generator)
    found = []
    for of_x, of_y in zip(_patches(x, places), _patches(y, places), strict=True):
        mean, white = of_y.mean((0, 2), keepdim=True), _whitening(of_y)
        directions = torch.randn(of_y[0].numel(), DIRECTIONS, generator=generator)
        directions = (directions / directions.norm(dim=0)).to(of_y.device)
        shadows = [
            ((white @ (one - mean)).flatten(1) @ directions).sort(0).values for one in (of_x, of_y)
        ]
        found.append((shadows[0] - shadows[1]).abs().mean())
    return float(torch.stack(found).mean())


def _whitening(patches: Tensor) -> Tensor:
    """(p, c, k) -> (c, c): makes their channels uncorrelated, of deviation 1 each.

    Channels of photographs are nearly the same, so without it colour would hardly be seen. What
    varies less than a tenth of what varies most, as noise of colour does, is not raised further.
    """
    channels = patches.transpose(1, 2).flatten(0, 1).double()
    variances, axes = torch.linalg.eigh(torch.cov(channels.T).view(len(channels[0]), -1))
    deviations = variances.clamp(min=0).sqrt()
    deviations = deviations.clamp(min=max(0.1 * float(deviations.max()), 1e-3))
    made: Tensor = axes / deviations @ axes.T
    return made.to(patches.dtype)


def _scales(x: Tensor) -> int:
    """How many levels a pyramid has whose smallest side is 16 pixels or a little more."""
    return int(min(x.shape[2:]) // SWD_LEAST).bit_length()


def _patches(images: Tensor, places: Tensor) -> list[Tensor]:
    """Of each scale, (PATCHES, c, 49): equally many of each image, at the places' shares."""
    owner = torch.arange(PATCHES) * len(images) // PATCHES
    found: list[list[Tensor]] = [[] for _ in places]
    for start in range(0, len(images), TOGETHER):
        some = images[start : start + TOGETHER]
        mine = ((owner >= start) & (owner < start + len(some))).nonzero().flatten()
        for level, bands in enumerate(_pyramid(some, len(places))):
            found[level].append(_cut(bands, owner[mine] - start, places[level, mine]))
    return [torch.cat(level) for level in found]


def _pyramid(images: Tensor, scales: int) -> list[Tensor]:
    """What each scale adds to the next coarser one, and the coarsest itself, (n, c, ., .)."""
    levels = []
    finer = images.float()
    for _ in range(scales - 1):
        coarser = F.avg_pool2d(finer, 2)
        again = F.interpolate(coarser, finer.shape[2:], mode="bilinear", align_corners=False)
        levels.append(finer - again)
        finer = coarser
    return [*levels, finer]


def _cut(bands: Tensor, owner: Tensor, places: Tensor) -> Tensor:
    """(p, c, 49): from image `owner` (p,), the patch at `places` (p, 2), shares of its height and
    width."""
    room = torch.tensor(bands.shape[2:]) - PATCH + 1
    corner = (places * room).long().minimum(room - 1)
    steps = torch.arange(PATCH)
    rows = (corner[:, 0, None] + steps)[:, :, None]
    columns = (corner[:, 1, None] + steps)[:, None, :]
    at = [one.to(bands.device) for one in (owner[:, None, None], rows, columns)]
    return bands.permute(0, 2, 3, 1)[at[0], at[1], at[2]].flatten(1, 2).transpose(1, 2)
