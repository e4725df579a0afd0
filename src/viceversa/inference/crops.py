"""Crops of images, to estimate the statistics of norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..fields import evenly_spaced, height_width
from ..files import format_bytes
from ..images.loading import read_options
from ..images.masks import MaskFiles, read_mask
from ..images.rows import ImageRows, open_rows
from ..images.sources import Source
from ..networks.sizes import supported_side
from ..streaming import SampledNorms, whole_memory, window_norms
from ..streaming.stream import ReadRows
from .memory import Shape, padded_shape
from .outputs import Input
from .row_files import row_reader
from .translator import Translator

CROPS = 64  # of an image, at most
SHARED_CROPS = 16  # of other images
CROP_SIDES = (256, 128, 64)  # pixels; smaller ones if the memory is small


def sample_crops(network: nn.Module, read: ReadRows, shape: Shape, memory: int) -> Tensor:
    """Return evenly spaced crops of an image, as many as fit into memory."""
    sides, most = fitting_crops(network, shape, memory)
    return torch.cat(crops_of(read, shape, sides, most))


def window_sides(translator: Translator, shape: Shape) -> tuple[int, int]:
    """Return height and width of windows of an image: those of the crops in training.

    Args:
        translator: The translator; if it does not know its crops, windows have 256x256 pixels.
        shape: (channels, height, width) of the padded image.
    """
    crop = height_width(translator.preprocessing.crop_size or CROP_SIDES[0])
    height, width = (
        min(supported_side(translator.network, side), most)
        for side, most in zip(crop, shape[1:], strict=True)
    )
    return height, width


def norms_of_windows(
    translator: Translator,
    read: ReadRows,
    shape: Shape,
    memory: int,
    progress: Callable[[float], object],
) -> SampledNorms:
    """Return norms with the statistics of windows of an image. Raises UserError: see `--memory`."""
    sides = window_sides(translator, shape)
    needed = whole_memory(translator.network, (shape[0], *sides))
    if needed > memory:
        raise _too_little(needed, memory, "a window")
    return window_norms(translator.network, shape, sides, read, progress)


def crops_of_files(
    translator: Translator, files: Sequence[Input], masks: MaskFiles | None, memory: int | None
) -> Tensor:
    """Return crops of several images, the same number of each image.

    The crops do not depend on the memory, so that several processes use the same statistics.

    Args:
        translator: The translator.
        files: The images; if there are more than 16, 16 evenly spaced images are used.
        masks: Mask files of the images.
        memory: Limit of the memory that the crops need, in bytes; None: no limit.

    Raises:
        UserError: An image cannot be read or is side by side, or the memory is too small.
    """
    network, source = translator.network, translator.source
    reading = read_options(source.config, translator.max_megapixels * 10**6)._asdict()

    with ExitStack() as opened:
        images = []
        for file in evenly_spaced(files, SHARED_CROPS):
            mask = masks.of(file if isinstance(file, Source) else Source(file)) if masks else None
            missing = read_mask(mask, translator.max_megapixels * 10**6)
            images.append(opened.enter_context(open_rows(file, **reading, mask=missing)))
            _refuse_side_by_side(translator, images[-1], file)
        shapes = [
            padded_shape(network, source.config.width, one.height, one.width) for one in images
        ]
        largest = supported_side(network, CROP_SIDES[0])
        height, width = (min(largest, *(shape[i] for shape in shapes)) for i in (1, 2))
        needed = SHARED_CROPS * whole_memory(network, (source.config.width, height, width))
        if memory is not None and needed > memory:
            raise _too_little(needed, memory, f"{SHARED_CROPS} crops")
        crops = list[Tensor]()
        for image, shape in zip(images, shapes, strict=True):
            read = row_reader(translator, image, shape)
            crops += crops_of(read, shape, (height, width), SHARED_CROPS // len(images))
    return torch.cat(crops)


def _refuse_side_by_side(translator: Translator, image: ImageRows, file: Input) -> None:
    try:
        translator.preprocessing.half(image.height, image.width, None, file)
    except UserError:
        raise UserError(
            f"{file} has the aspect ratio of training files with A and B side by side; name images "
            "that contain the source alone",
            option="--statistics_from",
        ) from None


def _too_little(needed: int, memory: int, crops: str) -> UserError:
    return UserError(
        f"{format_bytes(needed)} of memory are needed for the statistics of {crops}, and "
        f"{format_bytes(memory)} may be used; raise --memory",
        option="--memory",
    )


def fitting_crops(network: nn.Module, shape: Shape, memory: int) -> tuple[tuple[int, int], int]:
    """Return the height and width of crops, and how many fit into memory (at most 64)."""
    channels, height, width = shape
    for crop in CROP_SIDES:
        side = supported_side(network, crop)
        sides = min(side, height), min(side, width)
        needed = whole_memory(network, (channels, *sides))
        if needed <= memory:
            return sides, min(memory // needed, CROPS)
    raise _too_little(needed, memory, "a crop")


def crops_of(read: ReadRows, shape: Shape, sides: tuple[int, int], most: int) -> list[Tensor]:
    """Return at most `most` evenly spaced crops of an image."""
    _, height, width = shape
    down, across = grid(most, height / sides[0], width / sides[1])
    crops = []
    for top in torch.linspace(0, height - sides[0], down).long().tolist():
        rows = read(top, top + sides[0])
        for left in torch.linspace(0, width - sides[1], across).long().tolist():
            crops.append(rows[:, :, :, left : left + sides[1]])
    return crops


def grid(most: int, high: float, wide: float) -> tuple[int, int]:
    """Return the rows and columns of at most `most` crops, about evenly spaced.

    Args:
        most: Maximum number of crops.
        high: Height of the image in crops.
        wide: Width of the image in crops.
    """
    down = max(1, min(math.ceil(high), round(math.sqrt(most * high / wide))))
    across = max(1, min(math.ceil(wide), most // down))
    return min(down, most), across
