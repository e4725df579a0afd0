"""Pixels of files to values of networks and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images import Pixels
from ..images.domain import Domain
from ..images.loading import to_domain
from ..images.values import fill_nodata, fill_output, to_pixels, to_tensor, to_values
from .masked import mark_missing


def to_network(images: Sequence[Pixels], source: Domain) -> Tensor:
    """Return images of one size and dtype as (n, channels, h, w) in [-1, 1]; NaN: no data."""
    tensors = [to_tensor(to_domain(image, source.config, "the image")) for image in images]
    if any(one.is_floating_point() for one in tensors):  # masked pixels are NaN
        tensors = [one.float() for one in tensors]
    return to_values(torch.stack(tensors), source.of_dtype(str(images[0].dtype))).float()


def to_files(
    output: Tensor,
    values: Tensor,
    source: Domain,
    target: Domain,
    nodata: str,
    spreads: Sequence[NDArray[np.float32]] | None = None,
) -> list[Pixels]:
    """Return outputs of a network as pixels of files.

    Args:
        output: (n, channels, h, w) in [-1, 1].
        values: The images, as `to_network` returns them.
        source: Domain of the images.
        target: Domain of the files.
        nodata: No-data value of the files as text of GDAL, or "".
        spreads: Spread (h, w) of each output, changed in place to 0 where its image has no data.
    """
    filled = fill_nodata(values, source)
    pixels = to_pixels(fill_output(output, values, target), target, filled)
    mark_missing(pixels, values, target, nodata, spreads)
    return pixels
