"""Translate files: which ones, and in which batches."""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..fields import did_you_mean
from ..files import sha256
from ..images import Geometry, Pixels, read_tags, to_bytes, write
from ..images.preprocessing import LARGE, Part
from ..images.sources import FORMATS, Unread, is_hidden, is_image_name, unread
from .outputs import STREAM, File
from .record import Record
from .translator import Translator


class Outcome(NamedTuple):
    """Outcome of a translation. Failures and notes are (file, sentence without its name)."""

    failures: list[tuple[Path, str]]
    """Files that could not be read, translated or written."""
    notes: list[tuple[Path, str]]
    """Files that are much larger than in training, or with values outside its range."""
    written: list[Path]
    skipped: list[Path]
    """Results that were there already, made of the same source in the same way."""


class Inputs(NamedTuple):
    """The images behind what was named, and the files among them that are not read as images."""

    files: list[File]
    unread: list[Unread]


def expand(inputs: Sequence[str]) -> Inputs:
    """Find the images behind files, globs and folders (subfolders are kept in the results).

    A file that is named itself is read by its content, whatever its ending. Raises UserError where
    an input contains no image.
    """
    files: dict[File, None] = {}
    others: dict[str, None] = {}
    for given in inputs:
        found, passed = _expand(given)
        files |= dict.fromkeys(found)
        others |= dict.fromkeys(passed)
    named = {str(path) for path, _ in files}
    return Inputs(list(files), unread(name for name in others if name not in named))


def _expand(given: str) -> tuple[list[File], list[str]]:
    """Return the images behind one input, and the names of the other files behind it."""
    if not given:
        raise UserError("an input has no name; name files, globs or folders")
    path = Path(given)
    if path.exists() and not path.is_dir():
        return [(path, Path(path.name))], []
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*")) if _is_shown(file.relative_to(path))]
        none = f"the folder {given} holds no images"
    else:
        found = [Path(match) for match in sorted(glob.glob(given, recursive=True))]
        found = [file for file in found if _is_shown(Path(file.name))]
        near = [str(f) for f in path.parent.iterdir()] if path.parent.is_dir() else []
        none = f"there is no image {given}{did_you_mean(given, near)}"
    files = [file for file in found if is_image_name(file.name) and file.is_file()]
    others = [str(file) for file in found if not is_image_name(file.name) and file.is_file()]
    if not files and (groups := unread(others)):
        listed = "; ".join(map(str, groups))
        raise UserError(
            f"{given} has no images that can be read, only {listed}; read are {FORMATS}"
        )
    if not files:
        raise UserError(none)
    within = path.is_dir()
    return [(f, f.relative_to(path) if within else Path(f.name)) for f in files], others


def _is_shown(path: Path) -> bool:
    return not any(map(is_hidden, path.parts))


class _Waiting(NamedTuple):
    """An image that waits for its batch, and the SHA-256 of its file."""

    pixels: Pixels
    geometry: Geometry
    """GeoTIFF tags of its file, if the pixels are all of it."""
    path: Path
    result: Path
    digest: str


def translate_files(
    translator: Translator, pairs: Sequence[File], batch_size: int, half: Part = None,
    record: Record | None = None, resume: bool = False, stop: Callable[[], object] = bool,
) -> Outcome:  # fmt: skip
    """Translate and write each file, in batches of one size and depth.

    A file that can't be read, translated or written is reported, and the others go on.

    Args:
        translator: The translator.
        pairs: (image, result), as `plan` returns them.
        batch_size: Images of one size translated at once.
        half: Of files with A and B side by side, the part to translate.
        record: Record of the results, which each one is added to.
        resume: Whether to skip the results that the record has of the same source.
        stop: Checked before each file; true ends the work early.
    """
    outcome = Outcome([], [], [], [])
    waiting: list[_Waiting] = []

    def flush() -> None:
        batch = list(waiting)
        waiting.clear()
        _translate(translator, batch, record, outcome)

    for path, result in pairs:
        if stop():
            return outcome
        try:
            digest = sha256(path) if record is not None and path.is_file() else ""
            if record is not None and resume and record.has(result, digest):
                outcome.skipped.append(result)
                continue
            read = translator.read(sys.stdin.buffer if path == STREAM else path)
            pixels = translator.prepared(read, half, path)
            same = half in (None, "whole") and pixels.shape == read.shape
            geometry = _geometry(translator, path, result) if same else ()
        except (UserError, OSError) as error:
            outcome.failures.append((path, _reason(error, path)))
            continue
        part = translator.framing.part(read, half, path)
        if translator.framing.enlargement(part, pixels) > LARGE:
            outcome.notes.append((path, translator.framing.large))
        if translator.beyond(pixels):
            reason = "values outside the range that the model was trained on were cut off"
            outcome.notes.append((path, reason))
        if reason := translator.source.other_dtype(pixels.dtype.name):
            outcome.notes.append((path, reason))
        if waiting and (len(waiting) == batch_size or not _alike(waiting[0].pixels, pixels)):
            flush()
        waiting.append(_Waiting(pixels, geometry, path, result, digest))
    if waiting:
        flush()
    return outcome


def _translate(
    translator: Translator, batch: Sequence[_Waiting], record: Record | None, outcome: Outcome
) -> None:
    try:
        made = translator.pixels([one.pixels for one in batch])
    except UserError as error:  # one of them does not fit: which, it tells alone
        if len(batch) == 1:
            outcome.failures.append((batch[0].path, _reason(error, batch[0].path)))
            return
        for one in batch:
            _translate(translator, [one], record, outcome)
        return
    for image, one in zip(made, batch, strict=True):
        tags = translator.tags
        if image.shape[:2] == one.pixels.shape[:2]:
            tags = tags._replace(geometry=one.geometry)
        if one.result == STREAM:
            sys.stdout.buffer.write(to_bytes(image, translator.suffix(one.path.suffix), tags))
            sys.stdout.buffer.flush()
        else:
            try:
                write(one.result, image, tags)
            except UserError as error:
                outcome.failures.append((one.path, _reason(error, one.result)))
                continue
        outcome.written.append(one.result)
        if record is not None and one.digest:
            with suppress(OSError, UserError):  # the image is there; it would be translated again
                record.add(one.result, one.digest)


def _geometry(translator: Translator, path: Path, result: Path) -> Geometry:
    """Where on Earth an image is, if its file says so and the result can."""
    if path == STREAM or result.suffix.lower() not in (".tif", ".tiff"):
        return ()
    config, most = translator.source.config, translator.max_megapixels * 10**6
    return read_tags(path, config.read_channels, config.pages, most).geometry


def _reason(error: Exception, path: Path) -> str:
    """A sentence without the name of the file that it is about."""
    text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return text.removeprefix("<stdin>" if path == STREAM else str(path)).lstrip(": ")


def _alike(one: Pixels, other: Pixels) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype
