"""Crops of images, to estimate the statistics of norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..fields import counted, evenly_spaced, height_width
from ..files import format_bytes
from ..images import read_header
from ..images.header import Header
from ..images.loading import read_options
from ..images.masks import read_mask
from ..images.rows import open_rows
from ..images.sources import Source
from ..networks.sizes import supported_side
from ..streaming import BandedNetwork, Windows, whole_memory
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


def windows_of(
    translator: Translator,
    read: ReadRows,
    shape: Shape,
    memory: int,
    progress: Callable[[float], object],
) -> BandedNetwork:
    """Return a network in bands whose norms have the statistics of windows of an image.

    Raises:
        UserError: The memory is not enough for a window, the statistics, or the bands.
    """
    network, sides = translator.network, window_sides(translator, shape)
    windows = Windows(network, shape, sides)
    needed = whole_memory(network, (shape[0], *sides)) + windows.bytes
    if needed > memory:
        raise _too_little(needed, memory, counted(windows.count, "window"))
    made = BandedNetwork(network, shape, memory - windows.bytes, windows.norms)
    windows.measure(read, progress)
    return made


def crops_of_files(
    translator: Translator,
    files: Sequence[Input],
    mask_of: Callable[[Input], Source | None],
    memory: int | None,
) -> Tensor:
    """Return crops of several images, the same number of each image.

    The crops do not depend on the memory, so that several processes use the same statistics.

    Args:
        translator: The translator.
        files: The images; if there are more than 16, 16 evenly spaced images are used.
        mask_of: Returns the mask file of an image, if it has one.
        memory: Limit of the memory that the crops need, in bytes; None: no limit.

    Raises:
        UserError: An image cannot be read or is side by side, or the memory is too small.
    """
    network, config = translator.network, translator.source.config
    files, most = evenly_spaced(files, SHARED_CROPS), translator.max_megapixels * 10**6
    shapes = []
    for file in files:
        header = read_header(file, config.pages, most, config.read_channels)
        _refuse_side_by_side(translator, header, file)
        shapes.append(padded_shape(network, config.width, header.height, header.width))
    largest, count = supported_side(network, CROP_SIDES[0]), SHARED_CROPS // len(files)
    height, width = (min(largest, *(shape[i] for shape in shapes)) for i in (1, 2))
    crops = list[Tensor]()
    for file, shape in zip(files, shapes, strict=True):
        missing = read_mask(mask_of(file), most)
        with open_rows(file, **read_options(config, most)._asdict(), mask=missing) as image:
            crops += crops_of(row_reader(translator, image, shape), shape, (height, width), count)
    needed = whole_memory(network, (config.width, height, width), images=len(crops))
    if memory is not None and needed > memory:
        raise _too_little(needed, memory, counted(len(crops), "crop"))
    return torch.cat(crops)


def _refuse_side_by_side(translator: Translator, image: Header, file: Input) -> None:
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
