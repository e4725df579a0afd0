"""Results for images with masked pixels: no-data values and alpha."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..images import Pixels
from ..images.domain import Domain
from ..images.nodata import value_for_dtype
from ..images.writing import stores_alpha


def mark_missing(
    output: Sequence[Pixels],
    values: Tensor,
    target: Domain,
    nodata: str,
    spreads: Sequence[NDArray[np.float32]] | None,
) -> None:
    """Write the no-data value, if there is one, and spread 0 where images have no data.

    Args:
        output: Results (h, w, channels), changed in place.
        values: The images (n, channels, h, w), NaN: no data.
        target: Domain of the results.
        nodata: No-data value of the results as text of GDAL, or "".
        spreads: Spread (h, w) of each result, and of earlier ones.
    """
    value = value_for_dtype(target.dtype, nodata)
    for i, mask in enumerate(values.isnan().all(dim=1).numpy()):
        if value is not None:
            output[i][mask] = value
        if spreads is not None:
            spreads[i - len(output)][mask] = 0


def with_alpha(
    output: Pixels,
    image: Pixels,
    source: Domain,
    target: Domain,
    suffix: str,
    carried: Pixels | None = None,
) -> tuple[Pixels, bool]:
    """Return a result with alpha, 0 where its image is masked, and whether it has alpha.

    The result has alpha if the format can store it, and the alpha of the image is copied or alpha
    is the mask of a domain's files.

    Args:
        output: The translation (h, w, channels).
        image: The image; masked where all of its channels have no data.
        source: Domain of the image.
        target: Domain of the translation.
        suffix: Suffix of the file.
        carried: Alpha (h, w, 1) of the image in the dtype of the result, from `read_alpha`.
    """
    config = target.config
    shape = output.dtype, output.shape[2] + 1
    masks = any(domain.config.alpha == "mask" for domain in (source, target))
    masks = masks or carried is not None
    colours = config.kind == "image" and config.channels in (1, 3)
    if not (masks and colours and stores_alpha(suffix, *shape)):
        return output, False
    missing = np.ma.getmaskarray(image).all(axis=2, keepdims=True)
    opaque = np.iinfo(output.dtype).max
    alpha = np.where(missing, 0, opaque if carried is None else carried).astype(output.dtype)
    return np.concatenate([output, alpha], axis=2), True
