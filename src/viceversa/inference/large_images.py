"""Translate images that do not fit into memory from file to file, in bands of rows or tiles."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from ..config.speed import InferenceStatistics
from ..errors import UserError
from ..files import format_bytes
from ..images import Pixels, Source, read_header
from ..images.loading import read_options
from ..images.masks import MaskFiles, read_mask
from ..images.preprocessing import Part
from ..images.rows import open_rows
from ..streaming import BandedNetwork, SampledNorms, TiledNetwork, sampled_norms
from ..streaming.stream import ReadRows
from ..terminal import say
from .alpha import has_alpha
from .crops import crops_of_files, sample_crops, window_sides, windows_of
from .forward import memory_errors
from .inputs import expand
from .memory import MemoryLimit, Shape, padded_shape
from .notes import notes
from .outputs import STREAM, Input, file_of
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
    """Function that is called with a sentence about the costs before an image is translated."""
    statistics: InferenceStatistics = "exact"
    """Statistics that norms use: of the whole image, of crops, of windows (for all images that are
    larger than a window), or of each tile."""
    norms: SampledNorms | None = None
    """Norms with shared statistics, for all images, even if an image fits into memory; only with
    `exact`. None: the norms of each image use statistics of this image."""

    def takes(self, translator: Translator, path: Input, half: Part, spread: bool) -> bool:
        """Return whether an image does not fit, and can be translated in parts.

        Raises:
            UserError: The image cannot be read, or `half` has to be chosen.
        """
        if reason := self.obstacle(translator, path, half, spread):
            if self.own_option:
                raise UserError(f"{self.own_option}: {reason}", option=self.own_option)
            return False
        config, most = translator.source.config, translator.max_megapixels * 10**6
        header = read_header(path, config.pages, most, config.read_channels)
        height, width = header.height, header.width
        translator.preprocessing.half(height, width, half, path)
        shape = padded_shape(translator.network, config.width, height, width)
        by_rows = self.norms is not None or self.has_windows(translator, shape)
        by_rows = by_rows or not self.limit.at_once(height, width, 1)
        return by_rows and not self.limit.obstacle

    def has_windows(self, translator: Translator, shape: Shape) -> bool:
        """Return whether norms use statistics of several windows of an image."""
        return self.statistics == "window" and window_sides(translator, shape) != shape[1:]

    def check(self, translator: Translator, half: Part, spread: bool) -> None:
        """Raise UserError if `own_option` cannot be used with this network or these options."""
        check_statistics(self.limit, self.own_option)
        if reason := self.obstacle(translator, Path(), half, spread):
            raise UserError(f"{self.own_option}: {reason}", option=self.own_option)

    @property
    def own_option(self) -> str:
        """The option that translates images in bands even if they fit into memory, or ""."""
        window = "--statistics window" if self.statistics == "window" else ""
        return "--statistics_from" if self.norms is not None else window

    def excess(
        self, translator: Translator, pixels: Pixels, path: Input, half: Part, spread: bool
    ) -> str:
        """Return a note on an image that does not fit but is translated as a whole, or ""."""
        height, width = pixels.shape[:2]
        needed, limit = self.limit.needed(height, width), self.limit.limit
        if needed is None or limit is None or needed <= limit:
            return ""
        reason = self.obstacle(translator, path, half, spread) or self.limit.obstacle
        return (
            f"translated as a whole, which needs about {format_bytes(needed)} of memory, more than "
            f"--memory allows: {reason}"
        )

    def obstacle(self, translator: Translator, path: Input, half: Part, spread: bool) -> str:
        """Return the reason why no network can translate this image in parts, or ""."""
        reasons = {
            "images from standard input cannot be read in parts": path == STREAM,
            "--size resizes the whole image": translator.size != "own",
            "--half reads the whole image": half not in (None, "whole"),
            "--spread needs the whole image": spread,
        }
        return next((reason for reason, found in reasons.items() if found), "")


class Parts(NamedTuple):
    """Notes on an image that was translated in parts, and its tiles for the record."""

    notes: list[str]
    tiles: dict[str, Any] | None


def translate_by_rows(
    translator: Translator,
    path: Input,
    result: Path,
    mask: Source | None,
    options: LargeImages,
    progress: Callable[[float], object],
    alpha: bool = False,
) -> Parts:
    """Translate an image file in bands of rows, or in tiles if bands are not possible.

    In bands, the result equals that of the whole image within rounding. TIFF and OME-Zarr are read
    in bands, and written as pyramids; other formats are decoded and encoded as a whole.

    Args:
        translator: The translator.
        path: The image.
        result: The file to write, or `-`.
        mask: Mask file of the image.
        options: Memory, temporary files and messages.
        progress: Called with the completed fraction after each band; exceptions stop the work.
        alpha: Whether to copy the alpha channel of the image to the result, if possible.

    Raises:
        UserError: See `Translator.pixels`; or there is too little memory or disk space, or the
            result cannot be written.
    """
    most = translator.max_megapixels * 10**6
    reading = read_options(translator.source.config, most)._asdict()
    missing = read_mask(mask, most)
    with memory_errors(), ExitStack() as files:
        image = again = files.enter_context(open_rows(path, **reading, mask=missing))
        if image.windowed:  # passes read from top to bottom, ahead of the results
            again = files.enter_context(open_rows(path, **reading, mask=missing))
        shape = padded_shape(
            translator.network, translator.source.config.width, image.height, image.width
        )
        read = row_reader(translator, image, shape)
        # Computing the statistics of windows takes as long as the rest.
        before = 0.5 if options.has_windows(translator, shape) else 0.0
        network = _network(translator, options, shape, read, lambda done: progress(before * done))
        name = f"{path} ({image.width}x{image.height})"
        if options.norms is None and not options.limit.at_once(image.height, image.width, 1):
            options.report(f"{name} does not fit into the memory as a whole; {network.costs}")
        output = RowWriter(translator, again, path, result, files)
        if alpha and has_alpha(path, translator.source, most):
            pages = translator.source.config.pages
            output.take_over(files.enter_context(open_rows(path, pages=pages, max_pixels=most)))
        scratch = options.scratch or (Path() if result == STREAM else result.parent)
        with translator.precision.autocast():
            network(
                read, output.write, scratch, lambda done: progress(before + (1 - before) * done)
            )
        output.finish()
    size = image.height, image.width
    enlarged = translator.preprocessing.enlargement(size, size)
    if options.statistics == "window":  # the statistics are those of images as large as in training
        enlarged = 1.0
    found = notes(translator, enlarged, output.clipped, image.dtype.name)
    found += [output.problem] if output.problem else []
    if isinstance(network, BandedNetwork):
        return Parts(found, None)
    tiles = _about(network, options.limit.image_statistics)
    return Parts([*found, _note(tiles)], tiles)


def check_statistics(limit: MemoryLimit, option: str) -> None:
    """Raise UserError if an option for the statistics of norms has no effect on a network."""
    if not limit.has_bands:
        raise UserError(
            f"{option} needs a network that can be computed in bands of rows; ensembles, --flips, "
            "exported files and networks with unknown layers cannot",
            option=option,
        )
    if not limit.image_statistics:
        raise UserError(
            f"the norms of this model use no statistics of images; leave out {option}",
            option=option,
        )


def shared_norms(
    translator: Translator,
    limit: MemoryLimit,
    path: Path,
    masks: MaskFiles | None = None,
    images: Sequence[Input] = (),
) -> SampledNorms:
    """Return norms with the statistics of crops of the images at a path.

    Args:
        translator: The translator.
        limit: Limit of the memory.
        path: A file or folder of images.
        masks: Mask files of the images that are translated.
        images: The images that are translated; only they have masks.

    Raises:
        UserError: The network cannot be computed in bands, or an image cannot be read.
    """
    check_statistics(limit, "--statistics_from")
    files = [file for file, _ in expand([str(path)]).files]
    if masks:  # their folder may be in the folder of the images
        used = {one.path.resolve() for one in masks.by_name.values()}
        files = [file for file in files if file_of(file).resolve() not in used]
    if not files:
        raise UserError(
            f"--statistics_from {path} has no images besides masks", option="--statistics_from"
        )
    masked = {file_of(one).resolve() for one in images if one != STREAM} if masks else set()

    def mask_of(file: Input) -> Source | None:
        if masks is None or file_of(file).resolve() not in masked:
            return None
        return masks.of(file if isinstance(file, Source) else Source(file))

    crops = crops_of_files(translator, files, mask_of, limit.limit)
    digest = hashlib.sha256(crops.cpu().numpy().tobytes()).hexdigest()
    return sampled_norms(translator.network, crops)._replace(digest=digest)


def _network(
    translator: Translator,
    options: LargeImages,
    shape: Shape,
    read: ReadRows,
    progress: Callable[[float], object],
) -> BandedNetwork | TiledNetwork:
    """Return the network for an image of one size, in bands or tiles.

    `progress` is called with the completed fraction of the statistics of windows.
    """
    limit, network = options.limit, translator.network
    memory = sys.maxsize if limit.limit is None else limit.limit
    if limit.has_bands and options.statistics != "tile":
        if options.has_windows(translator, shape):
            return windows_of(translator, read, shape, memory, progress)
        norms = options.norms
        if options.statistics == "sampled":
            norms = sampled_norms(network, sample_crops(network, read, shape, memory))
        return BandedNetwork(network, shape, memory, norms)
    return TiledNetwork(
        network,
        shape,
        memory,
        limit.receptive_field,
        limit.of_tile,
        translator.target.config.width,
        translator.device,
    )


def _about(network: TiledNetwork, image_statistics: bool) -> dict[str, Any]:
    """Return a description of tiles for the record."""
    _, height, width = network.tile
    score = network.seam_score()
    return {
        "count": network.count,
        "height": height,
        "width": width,
        "overlap": network.overlap,
        "statistics": "tile" if image_statistics else "model",
        "seam_score": None if score is None else round(score, 4),
    }


def _note(tiles: Mapping[str, Any]) -> str:
    """Return a note on an image that was translated in tiles."""
    differs = (
        "norms used the statistics of each tile, so the result differs from that of the whole "
        f"image; seam score {tiles['seam_score']}"
    )
    equal = "the result equals that of the whole image within rounding"
    return (
        f"translated in {tiles['count']} tiles of {tiles['width']}x{tiles['height']} pixels that "
        f"overlap by {tiles['overlap']} pixels: "
        + (differs if tiles["statistics"] == "tile" else equal)
    )
