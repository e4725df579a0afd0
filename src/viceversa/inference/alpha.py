"""Copy the alpha channels of images to their results (`translate --alpha`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..images import Pixels, Source, read_header
from ..images.domain import Domain
from ..images.io import decode, reading_errors
from ..images.writing import stores_alpha

LACKS = "has transparency that the result lacks"
RESIZED = f"{LACKS}: the result is not of the whole image at its own size"


def check_alpha(target: Domain, suffix: str | None) -> None:
    """Raise UserError if no result can have an alpha channel.

    Args:
        target: Domain of the results.
        suffix: Suffix of all results; None: each result has the suffix of its image.
    """
    config = target.config
    if (
        config.kind != "image"
        or config.channels not in (1, 3)
        or np.dtype(target.dtype).kind != "u"
    ):
        raise UserError(
            f"--alpha is for models of grey or RGB images of 8 or 16 bits; this one writes "
            f"{config.channels} channels of {target.dtype} ({config.kind})",
            option="--alpha",
        )
    if suffix is not None and not stores_alpha(suffix, target.dtype, config.channels + 1):
        raise UserError(
            f"--alpha: a {suffix} file cannot store the transparency of these results; use .png "
            "or .tif",
            option="--alpha",
        )


def has_alpha(image: Source | Path, source: Domain, max_pixels: int) -> bool:
    """Return whether an image file has an alpha channel. Raises UserError."""
    config = source.config
    return read_header(image, config.pages, max_pixels, config.read_channels).alpha


def read_alpha(
    image: Source | Path | bytes,
    source: Domain,
    target: Domain,
    suffix: str,
    same_size: bool,
    max_pixels: int,
) -> tuple[Pixels | None, list[str]]:
    """Read the alpha channel of an image to copy it to the result.

    Args:
        image: The image: a file, or its contents.
        source: Domain of the image.
        target: Domain of the result.
        suffix: Suffix of the result.
        same_size: Whether the result has the size of the image.
        max_pixels: Maximum number of pixels.

    Returns:
        (h, w, 1) in the dtype of the result, or None; and the reason why alpha is not copied.

    Raises:
        UserError: The file cannot be read.
    """
    if not isinstance(image, bytes) and not has_alpha(image, source, max_pixels):
        return None, []
    config = source.config
    with reading_errors("the image" if isinstance(image, bytes) else image):
        data = image if isinstance(image, bytes) else _contents(image)
    pixels, header, _ = decode(
        data, "the image", config.read_channels, config.pages, max_pixels=max_pixels, fit=False
    )
    if not header.alpha:
        return None, []
    if not same_size:
        return None, [RESIZED]
    if problem := alpha_problem(pixels.dtype, target, suffix):
        return None, [problem]
    return to_alpha(pixels, target), []


def alpha_problem(dtype: np.dtype[Any], target: Domain, suffix: str) -> str:
    """Return the reason why alpha of this dtype cannot be copied to a result, or ""."""
    if not stores_alpha(suffix, target.dtype, target.config.channels + 1):
        return f"{LACKS}: a {suffix} file cannot store it; choose another --format"
    return "" if dtype.kind == "u" else f"{LACKS}: it is {dtype.name}"


def _contents(image: Source | Path) -> bytes:
    return image.read() if isinstance(image, Source) else image.read_bytes()


def to_alpha(pixels: Pixels, target: Domain) -> Pixels:
    """Return the last channel (h, w, 1) in the dtype of the results: opaque stays opaque."""
    most, white = np.iinfo(pixels.dtype).max, np.iinfo(target.dtype).max
    return np.rint(pixels[:, :, -1:].astype(np.float64) * (white / most)).astype(target.dtype)
