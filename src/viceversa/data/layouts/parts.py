"""Parts of the training images, chosen by a hash of names: held out for validation, or a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ...errors import UserError
from ...images.sources import Source
from .found import Found


def divide(found: Found, fraction: float, paired: bool) -> tuple[Found, Found]:
    """Hold out a part of the training images for validation.

    A group stays together; without groups an image, or a pair, is its own group. The choice
    depends on the names alone: images that are added do not move others from one side to the
    other. Without pairs and groups, each domain is divided by itself.

    Args:
        found: The images of `train`.
        fraction: Expected fraction of the groups that are held out; one at least.
        paired: Whether `a[i]` belongs to `b[i]`.

    Returns:
        The images of `train` that are left, and those of `val`.

    Raises:
        UserError: If a domain has no image on one of the two sides.
    """
    if paired or found.a == found.b:
        keys = [found.group_of(source) for source in found.a]
        held = _below(keys, fraction)
        sides = [[key in held for key in keys]] * 2
        unit = "groups" if found.groups else "pairs" if paired else "images"
        total, count = len(set(keys)), len(held)
    elif found.groups:
        keys = [found.group_of(source) for source in (*found.a, *found.b)]
        held = _below(keys, fraction)
        sides = [[found.group_of(source) in held for source in side] for side in (found.a, found.b)]
        unit, total, count = "groups", len(set(keys)), len(held)
    else:
        sides = []
        for side in (found.a, found.b):
            keys = [found.group_of(source) for source in side]
            held = _below(keys, fraction)
            sides.append([key in held for key in keys])
        unit, total, count = "images", sum(map(len, sides)), sum(map(sum, sides))
    val = _masked(found, sides)
    train = _masked(found, [[not out for out in side] for side in sides])
    for one, purpose in ((train, "train on"), (val, "validate on")):
        for name, images in (("A", one.a), ("B", one.b)):
            if not images:
                raise UserError(
                    f"data.hold_out {fraction:g} leaves no image of {name} to {purpose}: there are "
                    f"{total} {unit}, of which {count} are held out; add images, or set "
                    "data.hold_out 0",
                    option="data.hold_out",
                )
    by = f"held out by data.hold_out {fraction:g}"
    return (
        replace(train, layout=f"{found.layout}, without {count} of {total} {unit} {by}"),
        replace(val, layout=f"{count} of the {total} {unit} of train, {by}", alone=()),
    )


def sample(found: Found, count: int, paired: bool) -> Found:
    """Return the first images (pairs) in the order of a hash of their names, for each domain."""
    before = max(len(found.a), len(found.b))
    if count >= before:
        return found
    a = _first(found, found.a, count)
    sides = [a, a if paired or found.a == found.b else _first(found, found.b, count)]
    part = _masked(found, sides)
    unit = "pairs" if paired else "images of each domain" if found.a != found.b else "images"
    return replace(part, layout=f"{found.layout}, {count} {unit} of {before} by data.max_images")


def _hash(name: str) -> float:
    """Return a number in [0, 1) that depends on the name alone."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _below(names: Iterable[str], fraction: float) -> set[str]:
    """Return the names whose hash is below the fraction: at least one, and not all."""
    order = sorted(set(names), key=lambda name: (_hash(name), name))
    count = sum(_hash(name) < fraction for name in order)
    return set(order[: min(max(count, 1), len(order) - 1)])


def _first(found: Found, side: Sequence[Source], count: int) -> list[bool]:
    names = [found.names.get(source) or source.name.as_posix() for source in side]
    order = sorted(range(len(side)), key=lambda i: (_hash(names[i]), names[i], side[i].name))
    chosen = set(order[:count])
    return [i in chosen for i in range(len(side))]


def _masked(found: Found, sides: Sequence[Sequence[bool]]) -> Found:
    a, b = (
        tuple(source for source, kept in zip(side, mask, strict=True) if kept)
        for side, mask in zip((found.a, found.b), sides, strict=True)
    )
    groups = {source: found.groups[source] for source in (*a, *b) if source in found.groups}
    return replace(found, a=a, b=b, groups=groups)
