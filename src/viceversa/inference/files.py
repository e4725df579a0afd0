"""Translation of files: read the images, translate them in batches, write the results."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

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
from .banded import Bands, Stopped, translate_by_bands
from .batches import alike
from .masked import with_alpha
from .notes import notes_on
from .outputs import STREAM, File, Input, suffix_of, write_result
from .record import Record
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


class _Input(NamedTuple):
    """An image to translate, and the SHA-256 of its file."""

    pixels: Pixels
    own: Tags
    """Tags of its file that the result keeps, if the pixels are all of it."""
    path: Input
    result: Path
    digest: str
    alpha: Pixels | None
    """Alpha that the result takes over."""


def translate_files(
    translator: Translator,
    pairs: Sequence[File],
    batch_size: int,
    half: Part = None,
    record: Record | None = None,
    resume: bool = False,
    stop: Callable[[], object] = bool,
    spread: bool = False,
    masks: MaskFiles | None = None,
    progress: Callable[[float, int], object] = lambda done, total: None,
    bands: Bands | None = None,
    alpha: bool = False,
) -> Outcome:
    """Translate and write each file, in batches of one size and dtype.

    A file that cannot be read, translated or written is reported, and the others are translated.

    Args:
        translator: The translator.
        pairs: (image, result), as `plan` returns them.
        batch_size: Images of one size translated at once.
        half: Of files with A and B side by side, the part to translate.
        record: Record of the results, which each one is added to.
        resume: Whether to skip the results that the record has of the same source.
        stop: Checked before each file; true ends the work early.
        spread: Whether to write the spread of an ensemble beside each result.
        masks: Mask files of the images, by name.
        progress: Called with the number of images that are done, and of all that were not skipped.
        bands: How images that do not fit into the memory are translated; None: as a whole.
        alpha: Whether results take over the alpha channel of their image, where they can.
    """
    outcome = Outcome([], [], [], [], [])
    batch: list[_Input] = []

    def proceed(fraction: float = 0) -> None:
        done = len(outcome.written) + len(outcome.failures)
        progress(done + fraction, len(pairs) - len(outcome.skipped))

    def proceed_or_stop(fraction: float) -> None:
        proceed(fraction)
        if stop():
            raise Stopped

    for path, result in pairs:
        if stop():
            return outcome
        try:
            source = path if isinstance(path, Source) else Source(path)
            mask = masks.of(source) if masks else None
            digest = _digest(source, mask) if record is not None else ""
            if record is not None and resume and record.has(result, digest):
                outcome.skipped.append(result)
                continue
            if bands and bands.takes(translator, path, half):
                notes = translate_by_bands(
                    translator, path, result, mask, bands, proceed_or_stop, alpha
                )
                outcome.written.append(result)
                _note(record, result, digest)
                outcome.notes.extend((path, note) for note in notes)
                proceed()
                continue
            image, notes = _read(translator, path, result, half, digest, mask, alpha)
        except Stopped:
            return outcome
        except (UserError, OSError) as error:
            outcome.failures.append((path, _reason(error, path)))
            continue
        outcome.notes.extend((path, note) for note in notes)
        height, width, _ = image.pixels.shape
        most = bands.limit.at_once(height, width, batch_size) if bands else batch_size
        if batch and (len(batch) >= most or not alike(batch[0].pixels, image.pixels)):
            _translate(translator, batch, record, outcome, spread)
            batch = []
            proceed()
        batch.append(image)
    if batch:
        _translate(translator, batch, record, outcome, spread)
    return outcome


def _digest(source: Source, mask: Source | None) -> str:
    """Return the SHA-256 of an image, and of its mask; "" for what is neither file nor OME-Zarr."""
    if not (source.path.is_file() or is_zarr(source.path)):
        return ""
    own = hashlib.sha256(source.read()).hexdigest() if source.member else digest_of(source.path)
    return own + (f" {sha256(mask.path)}" if mask else "")


def _read(
    translator: Translator,
    path: Input,
    result: Path,
    half: Part,
    digest: str,
    mask: Source | None,
    alpha: bool,
) -> tuple[_Input, list[str]]:
    """Read and preprocess an image; return it with notes."""
    file = sys.stdin.buffer.read() if alpha and path == STREAM else path
    read = translator.read(sys.stdin.buffer if file == STREAM else file, mask)
    pixels = translator.preprocess(read, half, path)
    same_size = half in (None, "whole") and pixels.shape == read.shape
    own = _own_tags(translator, path, result) if same_size else NO_TAGS
    notes = notes_on(translator, read, pixels, half, path)
    carried = None
    if alpha:
        suffix, most = suffix_of(translator.suffix, path, result), translator.max_megapixels * 10**6
        carried, more = read_alpha(
            file, translator.source, translator.target, suffix, same_size, most
        )
        notes += more
    return _Input(pixels, own, path, result, digest, carried), notes


def _translate(
    translator: Translator,
    batch: Sequence[_Input],
    record: Record | None,
    outcome: Outcome,
    spread: bool,
) -> None:
    """Translate a batch and write its results; if it fails, each image by itself."""
    spreads: list[NDArray[np.float32]] = []
    try:
        results = translator.pixels([one.pixels for one in batch], spreads if spread else None)
    except UserError as error:
        if len(batch) == 1:
            outcome.failures.append((batch[0].path, _reason(error, batch[0].path)))
            return
        for one in batch:
            _translate(translator, [one], record, outcome, spread)
        return
    for i, (pixels, one) in enumerate(zip(results, batch, strict=True)):
        try:
            if spread:  # first: the record says that a result is complete
                write_maps(spreads[i], one.result)
            _write(translator, pixels, one)
        except UserError as error:
            outcome.failures.append((one.path, _reason(error, one.result)))
            continue
        outcome.written.append(one.result)
        outcome.spreads.extend([float(spreads[i].max())] if spread else [])
        _note(record, one.result, one.digest)


def _note(record: Record | None, result: Path, digest: str) -> None:
    """Add a result to the record. Without it, the image is only translated again."""
    if record is not None and digest:
        with suppress(OSError, UserError):
            record.add(result, digest)


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
