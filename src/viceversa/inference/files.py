"""Translation of files: read the images, translate them in batches, write the results."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..files import digest_of, sha256
from ..images import Pixels, Source, Tags, read_tags
from ..images.formats.ome_zarr import SUFFIX as ZARR
from ..images.formats.ome_zarr import is_zarr
from ..images.masks import MaskFiles
from ..images.preprocessing import Part
from ..images.sources import JPEG_SUFFIXES
from ..images.writing import NO_TAGS
from .alpha import read_alpha
from .batches import alike
from .large_images import LargeImages, Stopped, translate_by_rows
from .masked import with_alpha
from .notes import notes_on
from .outputs import STREAM, File, Input, suffix_of, write_result
from .record import Record, add_if_possible
from .spread import write_maps
from .translator import Translator


class Outcome(NamedTuple):
    """Outcome of a translation. Failures and notes are (file, sentence without its name)."""

    failures: list[tuple[Input, str]]
    """Files that could not be read, translated or written."""
    notes: list[tuple[Input, str]]
    """Files that are much larger than in training, or with values outside its range."""
    written: list[Path]
    skipped: list[Path]
    """Existing results of the same source, model and options."""
    spreads: list[float]
    """Largest standard deviation of each spread that was written."""

    def extend(self, other: Outcome) -> None:
        """Add the outcome of other files."""
        self.failures.extend(other.failures)
        self.notes.extend(other.notes)
        self.written.extend(other.written)
        self.skipped.extend(other.skipped)
        self.spreads.extend(other.spreads)


@dataclass(frozen=True)
class FileOptions:
    """Options for the translation of files."""

    batch_size: int = 8
    """Maximum number of images of one size in a batch."""
    half: Part = None
    """Part to translate if files contain A and B side by side."""
    spread: bool = False
    """Whether to write the spread of an ensemble next to each result."""
    alpha: bool = False
    """Whether to copy the alpha channel of images to results that can store it."""
    masks: MaskFiles | None = None
    """Mask files of the images, by name."""
    large_images: LargeImages | None = None
    """Options for images that do not fit into memory; None: translate them as a whole."""


def translate_files(
    translator: Translator,
    pairs: Sequence[File],
    options: FileOptions,
    record: Record | None = None,
    resume: bool = False,
    stop: Callable[[], object] = bool,
    progress: Callable[[float, int], object] = lambda done, total: None,
) -> Outcome:
    """Translate and write each file, in batches of one size and dtype.

    A file that cannot be read, translated or written is reported, and the others are translated.

    Args:
        translator: The translator.
        pairs: Pairs (image, result) from `plan`.
        options: Options for the translation.
        record: Record to which each result is added.
        resume: Whether to skip results that the record contains for the same source.
        stop: Checked before each file; true ends the work early.
        progress: Called with the number of finished images, and the number of images to translate.
    """
    work = _Work(translator, options, record, len(pairs), stop, progress)
    for path, result in pairs:
        try:
            work.stop_if_asked()
            work.add(path, result, resume)
        except Stopped:
            return work.outcome
        except (UserError, OSError) as error:
            work.outcome.failures.append((path, _reason(error, path)))
    work.translate_batch()
    return work.outcome


class _Input(NamedTuple):
    """Image to translate, with the SHA-256 of its file."""

    pixels: Pixels
    own: Tags
    """Tags of the file to copy to the result; only if the whole image is translated."""
    path: Input
    result: Path
    digest: str
    alpha: Pixels | None
    """Alpha channel to copy to the result."""


class _Work:
    """Translation of several files: the outcome so far, and the images of the next batch.

    Args:
        translator: The translator.
        options: Options for the translation.
        record: Record of the results.
        count: Number of files.
        stop: Function that returns whether to stop.
        progress: Called with the number of finished images, and the number of images to translate.
    """

    def __init__(
        self,
        translator: Translator,
        options: FileOptions,
        record: Record | None,
        count: int,
        stop: Callable[[], object],
        progress: Callable[[float, int], object],
    ) -> None:
        self.translator, self.options, self.record = translator, options, record
        self._count, self._stop, self._progress = count, stop, progress
        self.outcome = Outcome([], [], [], [], [])
        self._batch: list[_Input] = []

    def stop_if_asked(self) -> None:
        """Raise Stopped if `stop` returns true."""
        if self._stop():
            raise Stopped

    def add(self, path: Input, result: Path, resume: bool) -> None:
        """Translate a file, or add it to the batch. Raises UserError, OSError and Stopped."""
        translator, large = self.translator, self.options.large_images
        source = path if isinstance(path, Source) else Source(path)
        mask = self.options.masks.of(source) if self.options.masks else None
        digest = _digest(source, mask) if self.record is not None else ""
        if self.record is not None and resume and self.record.has(result, digest):
            self.outcome.skipped.append(result)
        elif large and large.takes(translator, path, self.options.half, self.options.spread):
            alpha = self.options.alpha
            parts = translate_by_rows(translator, path, result, mask, large, self._within, alpha)
            self._written(path, result, digest, parts.notes, parts.tiles)
            self._proceed()
        else:
            image, notes = self._read(path, result, digest, mask)
            self.outcome.notes.extend((path, note) for note in notes)
            self._add_to_batch(image)

    def _add_to_batch(self, image: _Input) -> None:
        """Add an image to the batch; translate the batch first if it is full."""
        most, large = self.options.batch_size, self.options.large_images
        if large:
            most = large.limit.at_once(image.pixels.shape[0], image.pixels.shape[1], most)
        batch = self._batch
        if batch and (len(batch) >= most or not alike(batch[0].pixels, image.pixels)):
            self.translate_batch()
            self._proceed()
        self._batch.append(image)

    def translate_batch(self) -> None:
        """Translate the batch, and start a new one."""
        batch, self._batch = self._batch, []
        if batch:
            self._translate(batch)

    def _translate(self, batch: Sequence[_Input]) -> None:
        """Translate images and write their results; if this fails, translate each image alone."""
        spreads: list[NDArray[np.float32]] = []
        pixels = [one.pixels for one in batch]
        try:
            results = self.translator.pixels(pixels, spreads if self.options.spread else None)
        except UserError as error:
            if len(batch) == 1:
                self.outcome.failures.append((batch[0].path, _reason(error, batch[0].path)))
                return
            for one in batch:
                self._translate([one])
            return
        for i, (output, one) in enumerate(zip(results, batch, strict=True)):
            try:
                if self.options.spread:  # before the result, which is recorded as complete
                    write_maps(spreads[i], one.result)
                _write(self.translator, output, one)
            except UserError as error:
                self.outcome.failures.append((one.path, _reason(error, one.result)))
                continue
            self._written(one.path, one.result, one.digest)
            self.outcome.spreads.extend([float(spreads[i].max())] if self.options.spread else [])

    def _written(
        self,
        path: Input,
        result: Path,
        digest: str,
        notes: Sequence[str] = (),
        tiles: Mapping[str, Any] | None = None,
    ) -> None:
        self.outcome.written.append(result)
        self.outcome.notes.extend((path, note) for note in notes)
        add_if_possible(self.record, result, digest, tiles)

    def _proceed(self, fraction: float = 0) -> None:
        done = len(self.outcome.written) + len(self.outcome.failures)
        self._progress(done + fraction, self._count - len(self.outcome.skipped))

    def _within(self, fraction: float) -> None:
        """Report the completed fraction of an image. Raises Stopped."""
        self._proceed(fraction)
        self.stop_if_asked()

    def _read(
        self, path: Input, result: Path, digest: str, mask: Source | None
    ) -> tuple[_Input, list[str]]:
        """Read and preprocess an image; return it with notes."""
        translator, half = self.translator, self.options.half
        file = sys.stdin.buffer.read() if self.options.alpha and path == STREAM else path
        read = translator.read(sys.stdin.buffer if file == STREAM else file, mask)
        pixels = translator.preprocess(read, half, path)
        same_size = half in (None, "whole") and pixels.shape == read.shape
        own = _own_tags(translator, path, result) if same_size else NO_TAGS
        notes, large = notes_on(translator, read, pixels, half, path), self.options.large_images
        if large and (note := large.excess(translator, pixels, path, half, self.options.spread)):
            notes.append(note)
        carried = None
        if self.options.alpha:
            suffix = suffix_of(translator.suffix, path, result)
            most = translator.max_megapixels * 10**6
            carried, more = read_alpha(
                file, translator.source, translator.target, suffix, same_size, most
            )
            notes += more
        return _Input(pixels, own, path, result, digest, carried), notes


def _digest(source: Source, mask: Source | None) -> str:
    """Return the SHA-256 of an image, and of its mask; "" for what is neither file nor OME-Zarr."""
    if not (source.path.is_file() or is_zarr(source.path)):
        return ""
    own = hashlib.sha256(source.read()).hexdigest() if source.member else digest_of(source.path)
    return own + (f" {sha256(mask.path)}" if mask else "")


def _write(translator: Translator, pixels: Pixels, image: _Input) -> None:
    """Write a result to its file or to standard output. Raises UserError."""
    tags = translator.tags
    if pixels.shape[:2] == image.pixels.shape[:2]:
        tags = tags._replace(geometry=image.own.geometry, resolution=image.own.resolution)
    suffix = suffix_of(translator.suffix, image.path, image.result)
    output, alpha = with_alpha(
        pixels, image.pixels, translator.source, translator.target, suffix, image.alpha
    )
    labels = translator.target.config.kind == "labels"
    write_result(image.result, suffix, output, tags, alpha, labels)


def _own_tags(translator: Translator, path: Input, result: Path) -> Tags:
    """Return the geometry and the resolution of an image, if the result can have them."""
    kinds = ".png", ".tif", ".tiff", ZARR, *JPEG_SUFFIXES
    if path == STREAM or suffix_of(translator.suffix, path, result).lower() not in kinds:
        return NO_TAGS
    config, most = translator.source.config, translator.max_megapixels * 10**6
    return read_tags(path, config.read_channels, config.pages, most)


def _reason(error: Exception, path: Input) -> str:
    """Return a message without the name of its file."""
    text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return text.removeprefix("<stdin>" if path == STREAM else str(path)).lstrip(": ")
