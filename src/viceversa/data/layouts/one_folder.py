"""Layouts without folders for domains: patterns of names, side-by-side files, photos."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import UserError
from ...images.sources import printable
from ..config import DataConfig
from .found import Found
from .pairing import Named, by_patterns, names_of, pairs, some, stem

Patterns = tuple[str, str]
SHARDS = ("{name}.a", "{name}.b")  # WebDataset: KEY.a.png and KEY.b.png make a sample


def in_one(named: Sequence[Named], where: str, paired: bool, config: DataConfig) -> Found:
    """Return the images of one folder and those below it, by patterns, side by side or as photos.

    Raises:
        UserError: If no image fits `config.pattern_a` or `config.pattern_b`, or if the layout is
            to be detected and names can be read in several ways.
    """
    files = tuple(source for _, source in named)
    names = {source: stem(name) for name, source in named}
    if config.layout == "photos":
        return Found(f"photos in {where}, each both A and B", files, files, names=names)
    patterns = patterns_of(named, config)
    if patterns is not None:
        return _by_patterns(named, patterns, where, paired, config.layout == "auto")
    if config.layout == "auto":
        _refuse_other_folders([name for name, _ in named], where)
    layout = f"side-by-side files in {where}"
    return Found(layout, files, files, side_by_side=True, names=names)


def patterns_of(named: Sequence[Named], config: DataConfig) -> Patterns | None:
    """Return the patterns that most names fit, or those that are set; None: side-by-side files."""
    given = config.pattern_a, config.pattern_b
    if config.layout != "auto":
        return given if config.layout == "patterns" else None
    for patterns in (given, SHARDS):
        a, b, rest = by_patterns(named, *patterns)
        if a and b and len(rest) <= len(named) / 2:
            return patterns
    return None


def _by_patterns(
    named: Sequence[Named], patterns: Patterns, where: str, paired: bool, guess: bool
) -> Found:
    first, second = patterns
    a, b, rest = by_patterns(named, first, second)
    by_name = f"by the names {first} and {second} in {where}"
    if not (a and b):
        missing = " or ".join(p for p, side in ((first, a), (second, b)) if not side)
        files = some(source for _, source in named)
        raise UserError(f"no image in {where} is named {missing}; there are {files}")
    if guess and rest:
        raise UserError(
            f"most images in {where} are named {first} and {second}, but {len(rest)} are not: "
            f"{some(rest)}; move them, or set --data.layout to patterns or side-by-side",
            option="data.layout",
        )
    if paired:
        return pairs(a, b, f"pairs {by_name}", rest)
    names = names_of(a) | names_of(b)
    sides = [tuple(names_of(side)) for side in (a, b)]
    return Found(f"images {by_name}", sides[0], sides[1], alone=tuple(rest), names=names)


def _refuse_other_folders(names: Sequence[str], where: str) -> None:
    """Refuse two folder names that most images are in: domains by other names than A and B."""
    folders = [name.split("/")[:-1] for name in names]
    found: tuple[int, list[str]] | None = None
    depth, deep = 0, folders
    while len(deep := [folder for folder in deep if len(folder) > depth]) > len(folders) / 2:
        beside: dict[tuple[str, ...], set[str]] = {}
        for folder in deep:
            beside.setdefault(tuple(folder[:depth]), set()).add(folder[depth])
        every = set().union(*beside.values())
        if len(every) == 2 and every in beside.values():
            found = depth, sorted(every)
        depth += 1
    if found is None:
        return
    depth, pair = found
    a, b = (printable("*/" * depth + name) for name in pair)
    patterns = (
        f" (or set --data.layout patterns --data.pattern_a '{a}/{{name}}' "
        f"--data.pattern_b '{b}/{{name}}')"
    )
    raise UserError(
        f"{where} holds the folders {a} and {b}; if they are the two domains, name them A and B"
        f"{'' if depth else patterns}; if each file holds both side by side, set --data.layout "
        "side-by-side",
        option="data.layout",
    )
