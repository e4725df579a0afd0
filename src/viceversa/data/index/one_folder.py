"""Layouts without folders for domains: patterns of names, side-by-side files, photos."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import UserError
from ...images.sources import printable
from ..config import DataConfig
from .pairing import SplitIndex, by_patterns, names_of, pair, some, stem
from .roles import Entry

SHARDS = ("{name}.a", "{name}.b")  # WebDataset: KEY.a.png and KEY.b.png make a sample


def in_one_folder(
    entries: Sequence[Entry], folder: str, paired: bool, config: DataConfig
) -> SplitIndex:
    """Index images of one folder: by patterns of names, side by side, or as photos.

    Raises:
        UserError: If no image fits `config.pattern_a` or `config.pattern_b`, or if the layout is
            detected and names can be read in several ways.
    """
    files = tuple(entry.source for entry in entries)
    names = {entry.source: stem(entry.name) for entry in entries}
    if config.layout == "photos":
        return SplitIndex(f"photos in {folder}, each both A and B", files, files, names=names)
    patterns = patterns_of(entries, config)
    if patterns is None:
        if config.layout == "auto":
            _refuse_two_folders(entries, folder)
        text = f"side-by-side files in {folder}"
        return SplitIndex(text, files, files, side_by_side=True, names=names)
    a, b, rest = by_patterns([entry[:2] for entry in entries], *patterns)
    if not (a and b):
        missing = [text for text, side in zip(patterns, (a, b), strict=True) if not side]
        raise UserError(
            f"no image in {folder} is named {' or '.join(missing)}; there are {some(files)}"
        )
    text = " and ".join(patterns)
    if config.layout == "auto" and rest:
        raise UserError(
            f"most images in {folder} are named {text}, but {len(rest)} are not: {some(rest)}; "
            "move them, or set --data.layout to patterns or side-by-side",
            option="data.layout",
        )
    if paired:
        return pair(a, b, f"pairs by the names {text} in {folder}", rest)
    return SplitIndex(
        f"images by the names {text} in {folder}",
        tuple(names_of(a)),
        tuple(names_of(b)),
        unmatched=dict.fromkeys(rest, ""),
        names=names_of(a, b),
    )


def patterns_of(entries: Sequence[Entry], config: DataConfig) -> tuple[str, str] | None:
    """Return the patterns that most names fit, or those that are set; None: side-by-side files."""
    given = config.pattern_a, config.pattern_b
    if config.layout != "auto":
        return given if config.layout == "patterns" else None
    for patterns in (given, SHARDS):
        a, b, rest = by_patterns([entry[:2] for entry in entries], *patterns)
        if a and b and len(rest) <= len(entries) / 2:
            return patterns
    return None


def _refuse_two_folders(entries: Sequence[Entry], parent: str) -> None:
    """Refuse two folder names that most images are in: domains by other names than A and B."""
    folders = [entry.name.split("/")[:-1] for entry in entries]
    found: tuple[str, str] | None = None
    levels = 0
    while len(deep := [folder for folder in folders if len(folder) > levels]) > len(folders) / 2:
        beside: dict[tuple[str, ...], set[str]] = {}
        for folder in deep:
            beside.setdefault(tuple(folder[:levels]), set()).add(folder[levels])
        every = set().union(*beside.values())
        if len(every) == 2 and every in beside.values():
            first, second = (printable("*/" * levels + name) for name in sorted(every))
            found = first, second
        levels += 1
    if found is None:
        return
    a, b = found
    patterns = (
        f" (or set --data.layout patterns --data.pattern_a '{a}/{{name}}' "
        f"--data.pattern_b '{b}/{{name}}')"
    )
    raise UserError(
        f"{parent} contains the folders {a} and {b}; if they are the two domains, name them A and B"
        f"{'' if a.startswith('*/') else patterns}; if each file has both side by side, set "
        "--data.layout side-by-side",
        option="data.layout",
    )
