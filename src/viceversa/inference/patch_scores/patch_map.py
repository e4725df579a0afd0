"""A discriminator's map over its image: each number drawn where its patch lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...images import Pixels, resize
from ...networks.patch_grid import PatchGrid
from .scores import PatchScores

Numbers = NDArray[np.float64]

# From made to real by way of undecided. Who sees no red or no green tells orange from blue, and who
# sees no blue does by their lightness.
STOPS = (0.0, 0.25, 0.5, 0.75, 1.0)
COLOURS = ((176, 72, 0), (244, 168, 88), (250, 250, 250), (122, 176, 224), (14, 76, 156))
VEIL = 0.62  # the share of colour over the grey image ...
LIFT = 0.25  # ... whose black is that share of white, so that colours show on it


def colours(numbers: Numbers) -> Pixels:
    """Numbers from 0 to 1, of any shape, as RGB: (..., 3) uint8."""
    bands = [np.interp(numbers, STOPS, stops) for stops in zip(*COLOURS, strict=True)]
    return np.rint(np.stack(bands, axis=-1)).astype(np.uint8)


def draw_patch_map(
    image: Pixels, verdict: PatchScores, size: tuple[int, int] | None = None
) -> Pixels:
    """(h, w, 3) uint8: the verdict's colours over the image in grey, at `size` (height, width).

    A colour stands at the middle of its patch, and between middles it passes from one to the next.
    """
    height, width = size or image.shape[:2]
    tint = colours(spread(verdict.map, verdict.patches, height, width)).astype(np.float64)
    grey = resized(image, height, width).astype(np.float64) @ (0.299, 0.587, 0.114)
    grey = LIFT * 255 + (1 - LIFT) * grey
    mixed = VEIL * tint + (1 - VEIL) * grey[:, :, None]
    return np.rint(mixed).astype(np.uint8)


def spread(numbers: Tensor, patches: PatchGrid, height: int, width: int) -> Numbers:
    """A map's number at each pixel of a picture of the image, `height` x `width`.

    Linear between the patches' middles; beyond the outermost ones, as there.
    """
    top, left = patches.centre(0, 0)
    pairs = ((height, patches.height, top, patches.rows),
             (width, patches.width, left, patches.columns))  # fmt: skip
    values: Numbers = numbers.double().numpy()
    for axis, (shown, side, first, count) in enumerate(pairs):
        pixels = (np.arange(shown) + 0.5) * side / shown - 0.5
        at = ((pixels - first) / patches.stride).clip(0, count - 1)
        below = np.floor(at).astype(int)
        above = np.minimum(below + 1, count - 1)
        share = np.expand_dims(at - below, 1 - axis)
        values = values.take(below, axis) * (1 - share) + values.take(above, axis) * share
    return values


def resized(image: Pixels, height: int, width: int) -> Pixels:
    """A picture to look at: pixels stay pixels where it is enlarged by a whole number."""
    whole = height >= image.shape[0] and not height % image.shape[0]
    return resize(image, height, width, "nearest" if whole else "bicubic")
