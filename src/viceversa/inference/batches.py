"""Batches of images of one size and dtype, and results of the kind of their images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..images import Pixels, to_pil

Batch = tuple[list[Any], list[Pixels] | None]
"""Images as they were given, and their pixels; None for a tensor, which is used as it is."""


def batches(
    images: Iterable[Any], prepare: Callable[[Any], Pixels | None], batch_size: int
) -> Iterator[Batch]:
    """Yield consecutive images of one size and dtype, at most `batch_size` at a time.

    An error of `prepare` is raised after the images before it were yielded.

    Args:
        images: Images of any kind.
        prepare: Returns the pixels of an image; None if it is a tensor.
        batch_size: Maximum number of images.
    """
    given: list[Any] = []
    pixels: list[Pixels] = []
    for image in images:
        try:
            prepared = prepare(image)
        except Exception:
            if given:
                yield given, pixels
            raise
        if given and (len(given) == batch_size or not alike(pixels[0], prepared)):
            yield given, pixels
            given, pixels = [], []
        if prepared is None:
            yield [image], None
        else:
            given.append(image)
            pixels.append(prepared)
    if given:
        yield given, pixels


def alike(one: Pixels, other: Pixels | None) -> bool:
    """Return whether two images can share a batch."""
    return other is not None and one.shape == other.shape and one.dtype == other.dtype


def shape_as(image: Any, output: Pixels) -> Any:
    """Return a result (h, w, channels) in the kind of its image.

    An array for an array, without the axis of channels if both have none; else a Pillow image if
    one can hold it (8 bits, grey or RGB), else an array.
    """
    if isinstance(image, np.ndarray):
        return output[:, :, 0] if image.ndim == 2 and output.shape[2] == 1 else output
    return to_pil(output) if output.dtype == np.uint8 and output.shape[2] in (1, 3) else output
