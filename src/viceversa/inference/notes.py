"""Notes on images that differ from the training images."""

from __future__ import annotations

import numpy as np

from ..images import Pixels
from ..images.domain import Domain
from ..images.preprocessing import LARGE, Part
from .translator import Translator


def notes_on(
    translator: Translator, read: Pixels, pixels: Pixels, half: Part, name: object
) -> list[str]:
    """Return notes on an image that is larger than the training images, or has other values.

    Args:
        translator: The translator.
        read: The image from the file, before preprocessing.
        pixels: The pixels that are translated.
        half: The part of the image that is translated.
        name: Name of the image, for error messages.
    """
    part = translator.preprocessing.part(read, half, name)
    enlarged = translator.preprocessing.enlargement(part.shape, pixels.shape)
    return notes(translator, enlarged, any_clipped(pixels, translator.source), pixels.dtype.name)


def any_clipped(pixels: Pixels, source: Domain) -> bool:
    """Return whether values are outside the range of training, so that they are clipped."""
    if source.config.kind != "image" or source.config.range == "dtype":
        return False
    low, high = (np.array(end) for end in (source.low, source.high))
    return bool(((pixels < low) | (pixels > high))[~np.ma.getmaskarray(pixels)].any())


def notes(translator: Translator, enlarged: float, clipped: bool, dtype: str) -> list[str]:
    """Return the notes on an image.

    Args:
        translator: The translator.
        enlarged: Size of the image relative to the size in training.
        clipped: Whether values are outside the range of training.
        dtype: dtype of the image.
    """
    found = []
    if enlarged > LARGE:
        found.append(translator.preprocessing.large)
    if clipped:
        found.append("values outside the range that the model was trained on were clipped")
    if other_dtype := translator.source.other_dtype(dtype):
        found.append(other_dtype)
    return found
