"""Read rows of images as network input, and write rows of the output."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from torch import Tensor

from ..images import Pixels
from ..images.formats.ome_zarr import names_zarr
from ..images.pyramid import TiffRows
from ..images.rows import ImageRows
from ..images.values import fill_nodata
from ..images.zarr_rows import ZarrRows, create_zarr
from ..networks.sizes import reflected
from .alpha import alpha_problem, to_alpha
from .forward import check_finite
from .masked import with_alpha
from .notes import any_clipped
from .outputs import STREAM, Input, suffix_of, write_result
from .pixels import to_files, to_network
from .translator import Translator


def row_reader(
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


class RowWriter:
    """Convert rows of the output, and write or collect them.

    Args:
        translator: The translator.
        image: The image; its pixels without data become pixels without data in the result.
        path: Name of the image.
        result: The file to write, or `-`.
        files: Exit stack that closes the result.
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
            return  # all rows are padding
        rows = rows[:, :, : self.position - start, : self.image.width].float().cpu()
        check_finite(rows)
        translator, image = self.translator, self.image.rows(start, self.position)
        self.clipped = self.clipped or any_clipped(image, translator.source)
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
