"""Crops of images, to estimate the statistics of norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..fields import evenly_spaced
from ..files import format_bytes
from ..images.loading import read_options
from ..images.rows import ImageRows, open_rows
from ..networks.sizes import supported_side
from ..streaming import whole_memory
from ..streaming.stream import ReadRows
from .memory import Shape, padded_shape
from .outputs import Input
from .row_files import row_reader
from .translator import Translator

CROPS = 64  # at most
CROP_SIDES = (256, 128, 64)  # pixels; smaller ones if the memory is small


def sample_crops(network: nn.Module, read: ReadRows, shape: Shape, memory: int) -> Tensor:
    """Return evenly spaced crops of an image, as many as fit into memory."""
    sides, most = fitting_crops(network, shape, memory)
    return torch.cat(crops_of(read, shape, sides, most))


def crops_of_files(translator: Translator, files: Sequence[Input], memory: int) -> Tensor:
    """Return crops of several images, as many as fit into memory, the same number of each image.

    Args:
        translator: The translator.
        files: The images; if there are more than 64, 64 evenly spaced images are used.
        memory: Limit of the memory that the crops need, in bytes.

    Raises:
        UserError: An image cannot be read, or the memory is too small for a crop.
    """
    network, source = translator.network, translator.source
    reading = read_options(source.config, translator.max_megapixels * 10**6)._asdict()

    def shape_of(image: ImageRows) -> Shape:
        return padded_shape(network, source.config.width, image.height, image.width)

    files, shapes = evenly_spaced(files, CROPS), []
    for file in files:
        with ExitStack() as opened:
            shapes.append(shape_of(opened.enter_context(open_rows(file, **reading))))
    smallest = (source.config.width, *(min(side) for side in list(zip(*shapes, strict=True))[1:]))
    sides, most = fitting_crops(network, smallest, memory)
    files, crops = evenly_spaced(files, most), list[Tensor]()
    for file in files:
        with ExitStack() as opened:
            image = opened.enter_context(open_rows(file, **reading))
            read = row_reader(translator, image, shape_of(image))
            crops += crops_of(read, shape_of(image), sides, most // len(files))
    return torch.cat(crops)


def fitting_crops(network: nn.Module, shape: Shape, memory: int) -> tuple[tuple[int, int], int]:
    """Return the height and width of crops, and how many fit into memory (at most 64)."""
    channels, height, width = shape
    for crop in CROP_SIDES:
        side = supported_side(network, crop)
        sides = min(side, height), min(side, width)
        needed = whole_memory(network, (channels, *sides))
        if needed <= memory:
            return sides, min(memory // needed, CROPS)
    raise UserError(
        f"{format_bytes(needed)} of memory are needed for the statistics of a crop, and "
        f"{format_bytes(memory)} may be used; raise --memory",
        option="--memory",
    )


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
