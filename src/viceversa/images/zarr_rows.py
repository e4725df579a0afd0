"""Write an OME-Zarr with pyramid levels from bands of rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..extras import import_extra
from ..files import folder_atomically, writing_errors
from .formats.ome_zarr import names_zarr, refuse_other_folder
from .header import UNKNOWN, Pixels, Resolution, Tags
from .pyramid import Pyramid
from .writing import NO_TAGS, write

CHANNELS = 4  # at most, in one chunk
COLOURS = "FF0000", "00FF00", "0000FF"


@contextmanager
def create_zarr(
    path: Path,
    shape: tuple[int, int, int],
    dtype: DTypeLike,
    tags: Tags = NO_TAGS,
    labels: bool = False,
) -> Iterator[ZarrRows]:
    """Create an OME-Zarr 0.5 (Zarr 3) with pyramid levels; rows are added from top to bottom.

    The levels are the same as in `TiffRows`. The axes are c, y and x, also for a single channel. A
    chunk has 512x512 pixels and up to 4 channels.

    Args:
        path: The folder; it is complete when the context ends, and not written after an exception.
        shape: (height, width, channels).
        dtype: uint8, uint16, int16 or float32.
        tags: Only the resolution is stored. The no-data value marks pixels without data.
        labels: Whether values are classes: levels have the class of the top left of 2x2 pixels.

    Raises:
        UserError: The folder could not be written, or the extra `zarr` is missing.
    """
    zarr = import_extra("zarr", "zarr", "an OME-Zarr")
    refuse_other_folder(path)
    with folder_atomically(path) as folder:
        rows = ZarrRows(path, shape, dtype, tags.nodata, labels)
        with writing_errors(path):
            rows.create(zarr, folder, tags.resolution)
        yield rows
        rows.pyramid.check_complete(path)


def write_image(
    path: Path, pixels: Pixels, tags: Tags = NO_TAGS, alpha: bool = False, labels: bool = False
) -> None:
    """Write an OME-Zarr with `create_zarr` if the path ends in .zarr, else a file with `write`.

    Raises:
        UserError: The file or folder could not be written.
    """
    if not names_zarr(path):
        write(path, pixels, tags, alpha=alpha)
        return
    height, width, channels = pixels.shape
    with create_zarr(path, (height, width, channels), pixels.dtype, tags, labels) as rows:
        rows.write(pixels)


class ZarrRows:
    """Writes rows to the arrays of an OME-Zarr; see `create_zarr`."""

    def __init__(
        self, path: Path, shape: tuple[int, int, int], dtype: DTypeLike, nodata: str, labels: bool
    ) -> None:
        self.pyramid = Pyramid(shape, dtype, self._store, nodata, labels=labels)
        self._path, self._arrays = path, list[Any]()
        self._tops = [0] * len(self.pyramid.levels)

    def create(self, zarr: Any, folder: Path, resolution: Resolution) -> None:
        """Create the arrays in an empty folder with the package zarr."""
        attributes = {"ome": described(self.pyramid, resolution)}
        group = zarr.create_group(folder, zarr_format=3, attributes=attributes)
        for number, level in enumerate(self.pyramid.levels):
            height, width, channels = level.shape
            array = group.create_array(
                str(number),
                shape=(channels, height, width),
                chunks=(min(channels, CHANNELS), *level.tile),
                dtype=self.pyramid.dtype,
                compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
                dimension_names=("c", "y", "x"),
            )
            self._arrays.append(array)

    def write(self, rows: Pixels) -> None:
        """Write the next rows, (h, width, channels). Raises UserError if the disk is full."""
        with writing_errors(self._path):
            self.pyramid.add(rows)

    def _store(self, number: int, rows: Pixels) -> None:
        top = self._tops[number]
        self._arrays[number][:, top : top + len(rows)] = np.moveaxis(rows, 2, 0)
        self._tops[number] += len(rows)


def described(pyramid: Pyramid, resolution: Resolution) -> dict[str, Any]:
    """Return the metadata of OME-NGFF 0.5.

    Args:
        pyramid: The levels.
        resolution: Pixels per inch in x and y, or `UNKNOWN`.
    """
    known = resolution != UNKNOWN
    x, y = (float(f"{25400 / one:.12g}") for one in resolution) if known else (1.0, 1.0)
    unit = {"unit": "micrometer"} if known else {}
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space"} | unit for name in "yx"]
    datasets = []
    for number in range(len(pyramid.levels)):
        scale = [1.0, y * 2**number, x * 2**number]
        transformations = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(number), "coordinateTransformations": transformations})
    result: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": datasets}],
    }
    if pyramid.shape[2] == len(COLOURS) and pyramid.dtype.kind == "u":  # for viewers
        most = int(np.iinfo(pyramid.dtype).max)
        window = {"min": 0, "max": most, "start": 0, "end": most}
        channels = [{"color": one, "window": window, "active": True} for one in COLOURS]
        result["omero"] = {"channels": channels}
    return result
