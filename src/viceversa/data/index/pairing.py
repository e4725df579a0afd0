"""Index of one split, and pairing of its images of A and B by file name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress, product
from typing import Literal

from ...errors import UserError
from ...images.sources import Source, printable
from ..config import DataConfig
from .roles import Entry

Keyed = dict[str, list[Source]]
"""Images by name: an image of A and one of B with the same name are a pair."""
SEPARATORS = ("-", "_", ".", " ")
Masks = dict[tuple[str, Source], Source]
"""Mask file by domain (`a`, `b`) and image."""


@dataclass(frozen=True)
class SplitIndex:
    """The image files of one split, before `data.direction` is applied."""

    layout: str
    """Description of the layout, for reports."""
    a: tuple[Source, ...]
    b: tuple[Source, ...]
    """Paired: `a[i]` belongs to `b[i]`."""
    side_by_side: bool = False
    """Whether each file contains A in its left half and B in its right; `b` then equals `a`."""
    unmatched: Mapping[Source, str] = field(default_factory=dict)
    """Images without a partner or outside of both domains, with their domain or ""."""
    groups: Mapping[Source, str] = field(default_factory=dict, compare=False)
    """Group (patient, slide, scene) of each image that is in one."""
    names: Mapping[Source, str] = field(default_factory=dict, compare=False)
    """Name of each image in the dataset; both images of a pair have the same."""
    masks: Masks = field(default_factory=dict, compare=False)
    """Mask file of each image that has one, by domain; side by side, of the whole file."""
    half_b: Literal["left", "right"] | None = None
    """Half of each file of B to read, if B has separate side-by-side files; None: all of it."""

    def describe(self, split: str) -> str:
        """Return a line on the number of images and the layout."""
        return f"{split:<6}{len(self.a)} of A, {len(self.b)} of B: {self.layout}"

    def files(self, domain: str) -> tuple[Source, ...]:
        """Return the files of a domain (`a`, `b`)."""
        return self.a if domain == "a" else self.b

    def masked(self, keep_a: Iterable[bool], keep_b: Iterable[bool]) -> SplitIndex:
        """Return the index of a part of the files."""
        a, b = tuple(compress(self.a, keep_a)), tuple(compress(self.b, keep_b))
        groups = {source: self.groups[source] for source in (*a, *b) if source in self.groups}
        return replace(self, a=a, b=b, groups=groups)

    def name_of(self, source: Source) -> str:
        """Return the name of an image, which does not depend on the path of the dataset."""
        return self.names.get(source) or source.name.as_posix()

    def group_of(self, source: Source) -> str:
        """Return the group of an image, or its name: splits must not divide groups."""
        return self.groups.get(source) or self.name_of(source)


def stem(name: str) -> str:
    """Return a name without its ending, sub-folders included."""
    return name[: name.rfind(".")]


def by_stem(named: Iterable[tuple[str, Source]]) -> Keyed:
    """Key images by their name without ending."""
    keyed: Keyed = {}
    for name, source in named:
        keyed.setdefault(stem(name), []).append(source)
    return keyed


def by_patterns(
    named: Iterable[tuple[str, Source]], pattern_a: str, pattern_b: str
) -> tuple[Keyed, Keyed, list[Source]]:
    """Return the images of A and of B, keyed by `{name}`, and those that match neither pattern.

    If both patterns match, the longer one counts: `{name}` and `{name}_label` can be combined.
    """
    a: Keyed = {}
    b: Keyed = {}
    rest: list[Source] = []
    for name, source in named:
        key_a, key_b = _match(stem(name), pattern_a), _match(stem(name), pattern_b)
        if key_a and key_b and len(pattern_a) != len(pattern_b):
            key_a, key_b = (key_a, "") if len(pattern_a) > len(pattern_b) else ("", key_b)
        if bool(key_a) == bool(key_b):
            rest.append(source)
        else:
            (a if key_a else b).setdefault(key_a or key_b, []).append(source)
    return a, b, rest


def _match(path: str, pattern: str) -> str:
    """Return `{name}` in a path, or ""; a pattern without folders matches in any folder."""
    before, after = pattern.split("{name}")
    folder = ""
    if "/" not in pattern:
        folder, slash, path = path.rpartition("/")
        folder += slash
    matches = path.startswith(before) and path.endswith(after)
    name = path[len(before) : len(path) - len(after)] if matches else ""
    return folder + name if name else ""


def names_of(*keyed: Keyed) -> dict[Source, str]:
    """Return the name of each image."""
    return {source: key for side in keyed for key, group in side.items() for source in group}


def pair(a: Keyed, b: Keyed, layout: str, rest: Iterable[Source] = ()) -> SplitIndex:
    """Pair the images whose name appears once in each domain.

    Args:
        a: Images of A.
        b: Images of B.
        layout: Description of the layout.
        rest: Images that are in neither domain.

    Raises:
        UserError: There is no pair.
    """
    keys = sorted(key for key in a.keys() & b.keys() if len(a[key]) == len(b[key]) == 1)
    names_a, names_b = names_of(a), names_of(b)
    if not keys:
        advice = hint(a, b) or "both images of a pair have the same name except for the ending"
        raise UserError(
            f"{layout}: none of the {len(names_a)} images of A and {len(names_b)} of B have the "
            f"same name to pair by; A has {first_names(names_a, 3)}; B has "
            f"{first_names(names_b, 3)}; "
            f"{advice}; for unpaired images choose the recipe of an unpaired method (viceversa "
            "show lists the recipes)",
            option="data.layout",
        )
    paired = set(keys)
    domains = dict.fromkeys(rest, "") | dict.fromkeys(names_b, "b") | dict.fromkeys(names_a, "a")
    names = names_a | names_b
    unmatched = in_order(source for source in domains if names.get(source) not in paired)
    return SplitIndex(
        layout,
        tuple(a[key][0] for key in keys),
        tuple(b[key][0] for key in keys),
        unmatched={source: domains[source] for source in unmatched},
        names=names,
    )


def in_order(sources: Iterable[Source]) -> list[Source]:
    """Sort by name as text, so that a folder and its archive agree (paths sort by parts)."""
    return sorted(sources, key=lambda source: (str(source.path), source.member))


def first_names(sources: Iterable[Source], count: int = 10) -> str:
    """Return the first names, and the number of the others."""
    listed = in_order(sources)
    first = ", ".join(str(source) for source in listed[:count])
    return first if len(listed) <= count else f"{first} and {len(listed) - count} more"


Change = Callable[[str], str]


def hint(a: Keyed, b: Keyed) -> str:
    """Return a clause on the renaming that makes most names match, or an empty text."""
    changes: list[tuple[str, Change, Change]] = [
        ("the difference in upper and lower case", str.lower, str.lower),
        ("the difference in sub-folders", _last, _last),
    ]
    for affixes in product(_affixes(a), _affixes(b)):
        texts = [f'"{printable(x)}" in {side}' for x, side in zip(affixes, "AB", strict=True) if x]
        change_a, change_b = (partial(_without, affix) for affix in affixes)
        changes.append((" and ".join(texts), change_a, change_b))
    counts = {
        text: sum(not key.endswith("/") for key in {*map(one, a)} & {*map(other, b)} - {""})
        for text, one, other in changes
    }
    best = max(counts, key=lambda text: counts[text])
    return f"{counts[best]} names match without {best}: rename them" if counts[best] else ""


def _last(key: str) -> str:
    return key.rpartition("/")[2]


def _affixes(keyed: Keyed) -> list[str]:
    """Return "" and the prefix and suffix that all names of a domain have in common."""
    first = _last(next(iter(keyed)))
    matches = [
        re.search(r"[-_. ][A-Za-z]+$|(?<=\d)[A-Za-z]+$", first),
        re.match(r"[A-Za-z]+[-_. ]", first),
    ]
    words = [match[0] for match in matches if match]
    return ["", *(word for word in words if all(_without(word, key) != key for key in keyed))]


def _without(affix: str, key: str) -> str:
    """Remove an affix of a name: a prefix if it ends in a separator, else a suffix."""
    folder, slash, name = key.rpartition("/")
    is_prefix = affix.endswith(SEPARATORS)
    return folder + slash + (name.removeprefix(affix) if is_prefix else name.removesuffix(affix))


SHARDS = ("{name}.a", "{name}.b")  # WebDataset: KEY.a.png and KEY.b.png make a sample


def in_one_folder(
    entries: Sequence[Entry], folder: str, paired: bool, config: DataConfig
) -> SplitIndex:
    """Index images of one folder: by name patterns, side by side, or as photos.

    Raises:
        UserError: No image matches `config.pattern_a` or `config.pattern_b`, or the layout is
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
            f"no image in {folder} is named {' or '.join(missing)}; there are {first_names(files)}"
        )
    text = " and ".join(patterns)
    if config.layout == "auto" and rest:
        raise UserError(
            f"most images in {folder} are named {text}, but {len(rest)} are not: "
            f"{first_names(rest)}; move them, or set --data.layout to patterns or side-by-side",
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
    """Return the patterns that are set, or that most names match; None: side-by-side files."""
    given = config.pattern_a, config.pattern_b
    if config.layout != "auto":
        return given if config.layout == "patterns" else None
    for patterns in (given, SHARDS):
        a, b, rest = by_patterns([entry[:2] for entry in entries], *patterns)
        if a and b and len(rest) <= len(entries) / 2:
            return patterns
    return None


def _refuse_two_folders(entries: Sequence[Entry], parent: str) -> None:
    """Raise UserError if most images are in two folders that may be domains not named A and B."""
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
