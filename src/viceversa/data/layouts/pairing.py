"""Which image of A belongs to which of B, by their names; and what to say where none does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from ...errors import UserError
from ...images.sources import Source, printable
from .found import Found

Named = tuple[str, Source]  # an image and its name below some folder
Keyed = dict[str, list[Source]]  # images by what they are paired by


def stem(name: str) -> str:
    """A name without its ending, sub-folders included: what folders are paired by."""
    return name[: name.rfind(".")]


def by_stem(named: Iterable[Named]) -> Keyed:
    """Images by the name without ending."""
    keyed: Keyed = {}
    for name, source in named:
        keyed.setdefault(stem(name), []).append(source)
    return keyed


def by_patterns(
    named: Iterable[Named], pattern_a: str, pattern_b: str
) -> tuple[Keyed, Keyed, list[Source]]:
    """A's images, B's and those that fit neither pattern, by what `{name}` stands for.

    The longer pattern counts where both fit, so that `{name}` and `{name}_label` can go together.
    """
    a: Keyed = {}
    b: Keyed = {}
    rest: list[Source] = []
    for name, source in named:
        key_a, key_b = _fit(stem(name), pattern_a), _fit(stem(name), pattern_b)
        if key_a and key_b and len(pattern_a) != len(pattern_b):
            key_a, key_b = (key_a, "") if len(pattern_a) > len(pattern_b) else ("", key_b)
        if bool(key_a) == bool(key_b):
            rest.append(source)
        else:
            (a if key_a else b).setdefault(key_a or key_b, []).append(source)
    return a, b, rest


def _fit(path: str, pattern: str) -> str:
    """What `{name}` is in a path, or nothing; a pattern without folders fits in any folder."""
    before, after = pattern.split("{name}")
    folder = ""
    if "/" not in pattern:
        folder, slash, path = path.rpartition("/")
        folder += slash
    fits = path.startswith(before) and path.endswith(after)
    name = path[len(before) : len(path) - len(after)] if fits else ""
    return folder + name if name else ""


def pair(a: Keyed, b: Keyed) -> tuple[list[Source], list[Source], list[Source]]:
    """(A's, B's in the same order, those alone): a name pairs if it stands once on each side."""
    fit = {key for key in a.keys() & b.keys() if len(a[key]) == len(b[key]) == 1}
    order = sorted(fit)
    alone = [s for side in (a, b) for key, group in side.items() if key not in fit for s in group]
    return [a[key][0] for key in order], [b[key][0] for key in order], in_order(alone)


def names_of(keyed: Keyed) -> dict[Source, str]:
    """The name that each image is paired by."""
    return {source: key for key, group in keyed.items() for source in group}


def pairs(a: Keyed, b: Keyed, layout: str, rest: Iterable[Source] = ()) -> Found:
    """Return the pairs of a split; `rest` are images that are neither of A nor of B.

    Raises:
        UserError: If there is no pair.
    """
    first, second, alone = pair(a, b)
    if not first:
        sides = [list(names_of(side)) for side in (a, b)]
        fits = hint(a, b) or "an image of A and its B have one name, but for the ending"
        raise UserError(
            f"{layout}: none of the {len(sides[0])} images of A and {len(sides[1])} of B have the "
            f"same name to pair by; A has {some(sides[0])}; B has {some(sides[1])}; {fits}; "
            "if A and B are no pairs of files, set --data.layout",
            option="data.layout",
        )
    names = names_of(a) | names_of(b)
    of_a = {source for group in a.values() for source in group}
    domains = {source: "a" if source in of_a else "b" for source in alone}
    every = tuple(in_order([*alone, *rest]))
    return Found(layout, tuple(first), tuple(second), alone=every, domains=domains, names=names)


def in_order(sources: Iterable[Source]) -> list[Source]:
    """Sorted by name as text, in which a folder and its archive agree (paths sort by parts)."""
    return sorted(sources, key=lambda source: (str(source.path), source.member))


def some(sources: Iterable[Source]) -> str:
    """The first ten, and how many there are."""
    listed = in_order(sources)
    first = ", ".join(str(source) for source in listed[:10])
    return first if len(listed) <= 10 else f"{first} and {len(listed) - 10} more"


def hint(a: Keyed, b: Keyed) -> str:
    """What would make names match that don't, or nothing."""
    best, words = 0, ""
    for said, change_a, change_b in [
        *_ways("upper and lower case", str.lower),
        *_ways("sub-folders", lambda key: key.rpartition("/")[2]),
        *((f"{_quoted(x, 'A')}{' and ' if x and y else ''}{_quoted(y, 'B')}", _less(x), _less(y))
          for x in _affixes(a) for y in _affixes(b) if x or y),
    ]:  # fmt: skip
        both = {change_a(key) for key in a} & {change_b(key) for key in b}
        count = sum(not key.endswith("/") for key in both - {""})
        if count > best:
            best, words = count, said
    return f"{best} names match without {words}: rename them" if best else ""


Change = Callable[[str], str]


def _ways(said: str, change: Change) -> list[tuple[str, Change, Change]]:
    return [(f"the difference in {said}", change, change)]


def _quoted(affix: str, domain: str) -> str:
    return f'"{printable(affix)}" in {domain}' if affix else ""


def _affixes(keyed: Keyed) -> list[str]:
    """Nothing, and what all names of a domain begin or end with: a word and what sets it off."""
    first = next(iter(keyed)).rpartition("/")[2]
    found = [""]
    if match := re.search(r"[-_. ][A-Za-z]+$|(?<=\d)[A-Za-z]+$", first):
        found.append(match[0])
    if match := re.match(r"[A-Za-z]+[-_. ]", first):
        found.append(match[0])
    return [affix for affix in found if all(_less(affix)(key) != key or not affix for key in keyed)]


def _less(affix: str) -> Change:
    """Take an affix off the last part of a name: off the front if it ends in a separator."""

    def change(key: str) -> str:
        folder, slash, name = key.rpartition("/")
        at_front = affix[-1:] in ("-", "_", ".", " ")
        return folder + slash + (name.removeprefix(affix) if at_front else name.removesuffix(affix))

    return change
