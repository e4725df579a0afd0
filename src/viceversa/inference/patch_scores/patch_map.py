"""Patch map: the values of patch scores, drawn as colours over the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...images import Pixels, resize
from ...networks.patch_grid import PatchGrid
from .scores import PatchScores

Values = NDArray[np.float64]

# From fake by undecided to real. Readers who see no red or no green distinguish orange from blue,
# and those who see no blue distinguish their lightness.
STOPS = (0.0, 0.25, 0.5, 0.75, 1.0)
COLOURS = ((176, 72, 0), (244, 168, 88), (250, 250, 250), (122, 176, 224), (14, 76, 156))
OPACITY = 0.62  # of the colours over the grey image ...
BLACK = 0.25  # ... whose black is that fraction of white, so that colours are visible on it


def to_colours(values: Values) -> Pixels:
    """Return values from 0 to 1, of any shape, as RGB (..., 3) uint8."""
    channels = [np.interp(values, STOPS, stops) for stops in zip(*COLOURS, strict=True)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def draw_patch_map(
    image: Pixels, scores: PatchScores, size: tuple[int, int] | None = None
) -> Pixels:
    """Draw the colours of patch scores over an image in grey.

    A colour is drawn at the centre of its patch, and interpolated between centres.

    Args:
        image: (h, w, 3) uint8.
        scores: The patch scores of the image.
        size: Height and width of the result; None is those of the image.

    Returns:
        (height, width, 3) uint8.
    """
    height, width = size or image.shape[:2]
    tint = to_colours(upsample(scores.values, scores.grid, height, width)).astype(np.float64)
    grey = enlarge(image, height, width).astype(np.float64) @ (0.299, 0.587, 0.114)
    grey = BLACK * 255 + (1 - BLACK) * grey
    mixed = OPACITY * tint + (1 - OPACITY) * grey[:, :, None]
    return np.rint(mixed).astype(np.uint8)


def upsample(values: Tensor, grid: PatchGrid, height: int, width: int) -> Values:
    """Interpolate a map linearly between the centres of its patches, constant beyond them.

    Args:
        values: (rows, columns).
        grid: The patches of the map.
        height: Height of the result, which shows the whole image.
        width: Its width.

    Returns:
        (height, width).
    """
    top, left = grid.centre(0, 0)
    axes = ((height, grid.height, top, grid.rows), (width, grid.width, left, grid.columns))
    result: Values = values.double().numpy()
    for axis, (size, side, first, count) in enumerate(axes):
        pixels = (np.arange(size) + 0.5) * side / size - 0.5
        position = ((pixels - first) / grid.stride).clip(0, count - 1)
        below = np.floor(position).astype(int)
        above = np.minimum(below + 1, count - 1)
        weight = np.expand_dims(position - below, 1 - axis)
        result = result.take(below, axis) * (1 - weight) + result.take(above, axis) * weight
    return result


def enlarge(image: Pixels, height: int, width: int) -> Pixels:
    """Resize an image for display; pixels stay sharp if it is enlarged by a whole number."""
    whole = height >= image.shape[0] and not height % image.shape[0]
    return resize(image, height, width, "nearest" if whole else "bicubic")
