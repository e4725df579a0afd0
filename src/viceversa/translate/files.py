"""Translate files: which ones, in which batches, and where the results go."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..config import did_you_mean
from ..errors import UserError
from ..images import SUFFIXES, Pixels, write
from ..images.pictures import Half, one_half
from .translator import Translator

File = tuple[Path, Path]  # an image, and its name among the results


class Told(NamedTuple):
    """What there is to tell of a translation: a sentence for each file that could not be read..."""

    failures: list[str]
    notes: list[str]
    """... and for each whose values lie beyond what the model knows, or whose format changed."""


def expand(inputs: Sequence[str]) -> list[File]:
    """The images behind files, globs and folders (with their subfolders, kept in the results).

    Raises UserError where an input holds no image.
    """
    return list(dict.fromkeys(file for given in inputs for file in _expand(given)))


def plan(
    files: Sequence[File], out: Path, suffix: Callable[[str], str], overwrite: bool = False
) -> list[File]:
    """(image, result) for each; `suffix` says which ending a result has.

    Raises UserError where two results would be one file, where one would overwrite an input, or,
    without `overwrite`, anything.
    """
    pairs = [(path, out / name.with_suffix(suffix(name.suffix))) for path, name in files]
    sources = {path.resolve() for path, _ in pairs}
    taken: dict[Path, Path] = {}
    for path, result in pairs:
        if result.resolve() in sources:
            raise UserError(f"{result} would overwrite an image to translate; choose another -o")
        if taken.setdefault(result, path) != path:
            raise UserError(f"{taken[result]} and {path} would both become {result}")
    there = [result for _, result in pairs if result.exists()]
    if there and not overwrite:
        raise UserError(
            f"{there[0]} is there already{f', and {len(there) - 1} more' if there[1:] else ''}; "
            "choose another -o, or say --overwrite"
        )
    return pairs


def _expand(given: str) -> Iterator[File]:
    if not given:
        raise UserError("an input has no name; name files, globs or folders")
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
    translator: Translator, pairs: Sequence[File], batch_size: int, half: Half = None
) -> Told:
    """Translate and write each file, in batches of one size and depth.

    `half`: of files with A and B side by side, the one to translate.
    """
    told = Told([], [])
    waiting: list[tuple[Pixels, Path, Path]] = []

    def flush() -> None:
        images, waiting_now = [pixels for pixels, _, _ in waiting], list(waiting)
        waiting.clear()
        try:
            made = translator.pixels(images)
        except UserError as error:  # an image among them does not fit; which one, they tell alone
            if len(images) == 1:
                told.failures.append(f"{waiting_now[0][1]}: {error}")
                return
            for one in waiting_now:
                waiting.append(one)
                flush()
            return
        for image, (_, _, result) in zip(made, waiting_now, strict=True):
            write(result, image)

    for path, result in pairs:
        try:
            pixels = one_half(translator.read(path), half)
        except UserError as error:
            told.failures.append(str(error))
            continue
        if share := translator.beyond(pixels):
            told.notes.append(
                f"{path}: {share:.1%} of its values lie outside the range that the model was "
                "trained on, and were cut off"
            )
        if waiting and (len(waiting) == batch_size or not _alike(waiting[0][0], pixels)):
            flush()
        waiting.append((pixels, path, result))
    if waiting:
        flush()
    return told


def _alike(one: Pixels, other: Pixels) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype
