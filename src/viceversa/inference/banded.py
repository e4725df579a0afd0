"""Translate images that do not fit into memory from file to file, in bands of rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from ..files import format_bytes
from ..images import Pixels, Source, read_header
from ..images.formats.ome_zarr import names_zarr
from ..images.loading import read_options
from ..images.masks import read_mask
from ..images.preprocessing import Part
from ..images.pyramid import TiffRows
from ..images.rows import ImageRows, open_rows
from ..images.values import fill_nodata
from ..images.zarr_rows import ZarrRows, create_zarr
from ..networks.sizes import reflected, supported_side
from ..runtime.device import free_memory
from ..streaming import BandedNetwork, Unknown, whole_memory
from ..terminal import say
from .alpha import alpha_problem, has_alpha, to_alpha
from .crops import sample_crops
from .forward import check_finite, memory_errors
from .masked import with_alpha
from .notes import notes
from .outputs import STREAM, Input, suffix_of, write_result
from .pixels import to_files, to_network
from .translator import Translator

SHARE = 0.5  # of the free memory that images may need by default


class MemoryLimit:
    """Decide which images are translated as a whole, and which in bands of rows.

    Args:
        translator: The translator.
        limit: Bytes that images may need; None: half of the free memory.
        processes: Number of processes that share the free memory.
    """

    def __init__(
        self, translator: Translator, limit: int | None = None, processes: int = 1
    ) -> None:
        self.network, self.channels = translator.network, translator.source.config.width
        free = free_memory(translator.device)
        if limit is None and free is not None:
            limit = round(SHARE * free / processes)
        self.limit = limit
        self._needed = cache(self._memory)

    def at_once(self, height: int, width: int, most: int) -> int:
        """Return how many images of a size are translated at once (at most `most`); 0: in bands."""
        needed = self._needed(height, width)
        if needed is None or self.limit is None:
            return most
        return min(most, self.limit // needed)

    def _memory(self, height: int, width: int) -> int | None:
        """Return the bytes needed to translate an image as a whole; None if that is unknown."""
        try:
            return whole_memory(self.network, _padded(self.network, self.channels, height, width))
        except Unknown:
            return None


class Stopped(Exception):
    """The translation of an image was interrupted."""


class Bands(NamedTuple):
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


def translate_by_bands(
    translator: Translator,
    path: Input,
    result: Path,
    mask: Source | None,
    bands: Bands,
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
        bands: Memory, temporary files and messages.
        progress: Called with the completed fraction after each band; its exceptions end the work.
        alpha: Whether to copy the alpha channel of the image to the result, if possible.

    Returns:
        Notes on the image.

    Raises:
        UserError: See `Translator.pixels`; or memory or disk space is too small, or the result
            cannot be written.
    """
    most = translator.max_megapixels * 10**6
    options = read_options(translator.source.config, most)._asdict()
    missing = read_mask(mask, most)
    with memory_errors(), ExitStack() as files:
        image = again = files.enter_context(open_rows(path, **options, mask=missing))
        if image.windowed:  # passes read from top to bottom, and the last is ahead of its results
            again = files.enter_context(open_rows(path, **options, mask=missing))
        shape = _padded(
            translator.network, translator.source.config.width, image.height, image.width
        )
        read, limit = _reader(translator, image, shape), bands.limit.limit or 0
        crops = sample_crops(translator.network, read, shape, limit) if bands.sampled else None
        network = BandedNetwork(translator.network, shape, limit, crops)
        bands.report(_costs(f"{path} ({image.width}x{image.height})", network))
        output = _Output(translator, again, path, result, files)
        if alpha and has_alpha(path, translator.source, most):
            pages = translator.source.config.pages
            output.take_over(files.enter_context(open_rows(path, pages=pages, max_pixels=most)))
        scratch = bands.scratch or (Path() if result == STREAM else result.parent)
        network(read, output.write, scratch, progress)
        output.finish()
    size = image.height, image.width
    enlarged = translator.preprocessing.enlargement(size, size)
    found = notes(translator, enlarged, output.clipped, image.dtype.name)
    return [*found, output.problem] if output.problem else found


def _reader(
    translator: Translator, image: ImageRows, shape: tuple[int, int, int]
) -> Callable[[int, int], Tensor]:
    """Return a function that reads rows of an image as network input, padded to `shape`."""
    rows, columns = reflected(image.height, shape[1]), reflected(image.width, shape[2])

    def read(start: int, end: int) -> Tensor:
        index = rows[start:end]
        first = int(index.min())
        values = to_network([image.rows(first, int(index.max()) + 1)], translator.source)
        values = fill_nodata(values, translator.source)[:, :, index - first]
        return values.index_select(3, columns).to(translator.device)

    return read


class _Output:
    """Convert rows of the output, and write or collect them.

    Args:
        translator: The translator.
        image: The image; pixels without data are also without data in the result.
        path: Name of the image.
        result: The file to write, or `-`.
        files: Closes the file.
    """

    def __init__(
        self, translator: Translator, image: ImageRows, path: Input, result: Path, files: ExitStack
    ) -> None:
        self.translator, self.image, self.result, self.files = translator, image, result, files
        self.suffix = suffix_of(translator.suffix, path, result)
        self.zarr = names_zarr(result)
        self.banded = self.zarr or (self.suffix.lower() in (".tif", ".tiff") and result != STREAM)
        own = image.tags
        self.tags = translator.tags._replace(geometry=own.geometry, resolution=own.resolution)
        self.position, self.clipped, self.alpha = 0, False, False
        self.collected: list[Pixels] = []
        self.file: TiffRows | ZarrRows | None = None
        self.with_alpha: ImageRows | None = None
        self.problem = ""
        """Reason why the alpha channel of the image is not copied."""

    def take_over(self, image: ImageRows) -> None:
        """Copy the alpha channel, the last channel of `image`, if the result can store it."""
        self.problem = alpha_problem(image.dtype, self.translator.target, self.suffix)
        self.with_alpha = None if self.problem else image

    def write(self, rows: Tensor) -> None:
        """Write rows (1, channels, rows, width) of the padded output."""
        start = self.position
        self.position = min(start + rows.shape[2], self.image.height)
        if start == self.position:
            return  # padding
        rows = rows[:, :, : self.position - start, : self.image.width].float().cpu()
        check_finite(rows)
        translator, image = self.translator, self.image.rows(start, self.position)
        self.clipped = self.clipped or translator.clipped_fraction(image) > 0
        source, target = translator.source, translator.target
        values = to_network([image], source)
        (pixels,) = to_files(rows, values, source, target, self.tags.nodata)
        carried = None
        if self.with_alpha is not None:
            carried = to_alpha(self.with_alpha.rows(start, self.position), target)
        pixels, self.alpha = with_alpha(pixels, image, source, target, self.suffix, carried)
        if not self.banded:
            self.collected.append(pixels)
            return
        if self.file is None:
            shape = self.image.height, self.image.width, pixels.shape[2]
            labels = target.config.kind == "labels"
            if self.zarr:
                self.file = self.files.enter_context(
                    create_zarr(self.result, shape, pixels.dtype, self.tags, labels)
                )
            else:
                self.file = self.files.enter_context(
                    TiffRows(self.result, shape, pixels.dtype, self.tags, self.alpha, labels)
                )
        self.file.write(pixels)

    def finish(self) -> None:
        """Write the result if it was not written in bands."""
        if not self.banded:
            pixels = np.concatenate(self.collected)
            write_result(self.result, self.suffix, pixels, self.tags, self.alpha)


def _padded(network: nn.Module, channels: int, height: int, width: int) -> tuple[int, int, int]:
    """Return the shape of an image that is padded to a size that a network supports."""
    return channels, supported_side(network, height), supported_side(network, width)


def _costs(image: str, network: BandedNetwork) -> str:
    """Return a sentence about the costs of translating an image in bands."""
    plan = network.plan
    return (
        f"{image} does not fit into the memory as a whole; it is translated in bands of "
        f"{network.band} rows: {format_bytes(network.memory)} of memory, "
        f"{format_bytes(plan.scratch)} of temporary files, {format_bytes(plan.traffic)} read and "
        f"written, {plan.arithmetic:.2f} times the arithmetic"
        + (f"; norms have the statistics of {network.crops} crop" if network.crops else "")
        + "s" * (network.crops > 1)
    )
