"""Translate images that do not fit into memory from file to file, in bands of rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from ..images import Source, read_header
from ..images.loading import read_options
from ..images.masks import read_mask
from ..images.preprocessing import Part
from ..images.rows import open_rows
from ..streaming import BandedNetwork
from ..terminal import say
from .alpha import has_alpha
from .crops import sample_crops
from .forward import memory_errors
from .memory import MemoryLimit, padded_shape
from .notes import notes
from .outputs import STREAM, Input
from .row_files import RowWriter, row_reader
from .translator import Translator


class Stopped(Exception):
    """The translation of an image was interrupted."""


class LargeImages(NamedTuple):
    """Options for images that do not fit into memory."""

    limit: MemoryLimit
    scratch: Path | None = None
    """Folder for temporary files; None: the folder of the result."""
    report: Callable[[str], object] = say
    """Called with a sentence about the costs of an image before it is translated."""
    sampled: bool = False
    """Whether norms use statistics of crops instead of the whole image."""

    def takes(self, translator: Translator, path: Input, half: Part) -> bool:
        """Return whether an image does not fit. Resized images and halves are read as a whole.

        Raises:
            UserError: The image cannot be read, or `half` has to be chosen.
        """
        if path == STREAM or translator.size != "own" or half not in (None, "whole"):
            return False
        config, most = translator.source.config, translator.max_megapixels * 10**6
        header = read_header(path, config.pages, most, config.read_channels)
        translator.preprocessing.half(header.height, header.width, half, path)
        return not self.limit.at_once(header.height, header.width, 1)


def translate_by_rows(
    translator: Translator,
    path: Input,
    result: Path,
    mask: Source | None,
    options: LargeImages,
    progress: Callable[[float], object],
    alpha: bool = False,
) -> list[str]:
    """Translate an image file in bands of rows.

    The result equals that of the whole image within rounding. TIFF and OME-Zarr are read in bands,
    and written as pyramids; other formats are decoded and encoded as a whole.

    Args:
        translator: The translator.
        path: The image.
        result: The file to write, or `-`.
        mask: Mask file of the image.
        options: Memory, temporary files and messages.
        progress: Called with the completed fraction after each band; its exceptions end the work.
        alpha: Whether to copy the alpha channel of the image to the result, if possible.

    Returns:
        Notes on the image.

    Raises:
        UserError: See `Translator.pixels`; or memory or disk space is too small, or the result
            cannot be written.
    """
    most = translator.max_megapixels * 10**6
    reading = read_options(translator.source.config, most)._asdict()
    missing = read_mask(mask, most)
    with memory_errors(), ExitStack() as files:
        image = again = files.enter_context(open_rows(path, **reading, mask=missing))
        if image.windowed:  # passes read from top to bottom, and the last is ahead of its results
            again = files.enter_context(open_rows(path, **reading, mask=missing))
        shape = padded_shape(
            translator.network, translator.source.config.width, image.height, image.width
        )
        read, limit = row_reader(translator, image, shape), options.limit.limit or 0
        crops = sample_crops(translator.network, read, shape, limit) if options.sampled else None
        network = BandedNetwork(translator.network, shape, limit, crops)
        name = f"{path} ({image.width}x{image.height})"
        options.report(f"{name} does not fit into the memory as a whole; {network.costs}")
        output = RowWriter(translator, again, path, result, files)
        if alpha and has_alpha(path, translator.source, most):
            pages = translator.source.config.pages
            output.take_over(files.enter_context(open_rows(path, pages=pages, max_pixels=most)))
        scratch = options.scratch or (Path() if result == STREAM else result.parent)
        with translator.precision.autocast():
            network(read, output.write, scratch, progress)
        output.finish()
    size = image.height, image.width
    enlarged = translator.preprocessing.enlargement(size, size)
    found = notes(translator, enlarged, output.clipped, image.dtype.name)
    return [*found, output.problem] if output.problem else found
