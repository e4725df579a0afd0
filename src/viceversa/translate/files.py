"""Translate files: which ones, in which batches, and where the results go."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..config import did_you_mean
from ..errors import UserError
from ..images import SUFFIXES, Pixels, read, write
from .translator import Translator


def plan(inputs: Sequence[str], out: Path) -> list[tuple[Path, Path]]:
    """(file, result) for files, globs and folders (with their subfolders, kept in the results).

    Raises UserError where an input holds no image, two results would be one file, or a result
    would overwrite an input.
    """
    pairs: list[tuple[Path, Path]] = []
    for given in inputs:
        pairs += [(path, out / name) for path, name in _expand(given)]
    sources = {path.resolve() for path, _ in pairs}
    taken: dict[Path, Path] = {}
    for path, result in pairs:
        if result.resolve() in sources:
            raise UserError(f"{result} would overwrite an image to translate; choose another -o")
        if taken.setdefault(result, path) != path:
            raise UserError(f"{taken[result]} and {path} would both become {result}")
    return list(dict.fromkeys(pairs))


def _expand(given: str) -> Iterator[tuple[Path, Path]]:
    path = Path(given)
    if path.is_dir():
        files = [f for f in sorted(path.rglob("*")) if _is_image(f)]
        if not files:
            raise UserError(f"the folder {given} holds no images")
        yield from ((file, file.relative_to(path)) for file in files)
    elif path.exists():
        yield path, Path(path.name)
    else:
        matches = [Path(match) for match in sorted(glob.glob(given, recursive=True))]
        files = [match for match in matches if _is_image(match)]
        if not files:
            near = [str(f) for f in path.parent.iterdir()] if path.parent.is_dir() else []
            raise UserError(f"there is no image {given}{did_you_mean(given, near)}")
        yield from ((file, Path(file.name)) for file in files)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def translate_files(
    translator: Translator, pairs: Sequence[tuple[Path, Path]], batch_size: int
) -> list[str]:
    """Translate and write each file; returns a sentence for each that could not be read."""
    failures: list[str] = []
    waiting: list[tuple[Pixels, Path]] = []

    def flush() -> None:
        made = translator.pixels([pixels for pixels, _ in waiting]) if waiting else []
        for image, (_, result) in zip(made, waiting, strict=True):
            write(result, image)
        waiting.clear()

    for path, result in pairs:
        try:
            pixels = read(path, translator.channels_in)
        except UserError as error:
            failures.append(str(error))
            continue
        if waiting and (len(waiting) == batch_size or waiting[0][0].shape != pixels.shape):
            flush()
        waiting.append((pixels, result))
    flush()
    return failures
