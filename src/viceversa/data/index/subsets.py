"""Subsets of the training images, chosen by a hash of names: data.hold_out, data.max_images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace

from ...errors import UserError
from ...images.sources import Source
from .pairing import SplitIndex


def hold_out(index: SplitIndex, fraction: float, paired: bool) -> tuple[SplitIndex, SplitIndex]:
    """Hold out a part of the training images for validation.

    Groups are not divided; without groups, each image or pair is a group. The choice depends on
    the names alone, so that adding images does not move others between the splits. Without pairs
    and groups, each domain is divided separately.

    Args:
        index: The images of `train`.
        fraction: Expected fraction of the groups that are held out; at least one is.
        paired: Whether `a[i]` belongs to `b[i]`.

    Returns:
        The remaining images of `train`, and those of `val`.

    Raises:
        UserError: A split would have no image of a domain.
    """
    keys_a, keys_b = ([index.group_of(source) for source in side] for side in (index.a, index.b))
    separate = not (paired or index.a == index.b or index.groups)
    if paired:
        keys_b = keys_a
    sides = (keys_a, keys_b) if separate else ([*keys_a, *keys_b],) * 2
    held_a, held_b = (_below(keys, fraction) for keys in sides)
    in_val = [key in held_a for key in keys_a], [key in held_b for key in keys_b]
    if separate:
        total, count = len(keys_a) + len(keys_b), sum(map(sum, in_val))
    else:
        total, count = len(set(sides[0])), len(held_a)
    unit = "groups" if index.groups else "pairs" if paired else "images"
    text = f"held out by data.hold_out {fraction:g}"
    in_train = [[not held for held in side] for side in in_val]
    left = f"{index.layout}, without {count} of {total} {unit} {text}"
    train = replace(index.masked(*in_train), layout=left)
    rest = f"{count} of the {total} {unit} of train, {text}"
    val = replace(index.masked(*in_val), layout=rest, unmatched={})
    for part, purpose in ((train, "train on"), (val, "validate on")):
        for domain in "ab":
            if not part.files(domain):
                raise UserError(
                    f"data.hold_out {fraction:g} leaves no image of {domain.upper()} to {purpose}: "
                    f"there are {total} {unit}, of which {count} are held out; add images, or set "
                    "data.hold_out 0",
                    option="data.hold_out",
                )
    return train, val


def subset(index: SplitIndex, count: int, paired: bool) -> SplitIndex:
    """Return the first images (pairs) in the order of a hash of their names, for each domain."""
    before = max(len(index.a), len(index.b))
    if count >= before:
        return index
    same = index.a == index.b
    first = _first(index.name_of, index.a, count)
    second = first if paired or same else _first(index.name_of, index.b, count)
    unit = "pairs" if paired else "images" if same else "images of each domain"
    text = f"{index.layout}, {count} {unit} of {before} by data.max_images"
    return replace(index.masked(first, second), layout=text)


def _hash(name: str) -> float:
    """Return a number in [0, 1) that depends on the name alone."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _below(names: Iterable[str], fraction: float) -> set[str]:
    """Return the names whose hash is below the fraction: at least one, and not all."""
    order = sorted(set(names), key=lambda name: (_hash(name), name))
    count = sum(_hash(name) < fraction for name in order)
    return set(order[: min(max(count, 1), len(order) - 1)])


def _first(name_of: Callable[[Source], str], side: tuple[Source, ...], count: int) -> list[bool]:
    def key(i: int) -> tuple[float, str, object]:
        name = name_of(side[i])
        return _hash(name), name, side[i].name

    chosen = set(sorted(range(len(side)), key=key)[:count])
    return [i in chosen for i in range(len(side))]
