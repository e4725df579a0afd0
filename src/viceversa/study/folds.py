"""Folds of a dataset by group, balanced by number of images, written as manifests."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..data.index.roles import SPLITS
from ..errors import UserError
from ..files import write_bytes
from .groups import Item

Sizes = Mapping[str, tuple[int, int]]
"""Number of images of A and of B in each group."""
Splits = dict[str, str]
"""The split of each group in a fold: `train`, `val` or `test`."""


def cross_validation(items: Sequence[Item], folds: int, val: float, seed: int) -> list[Splits]:
    """Divide the groups into folds; each is `test` once, and `val` is cut from the others.

    Args:
        items: The images.
        folds: Number of folds, at least 2.
        val: Fraction of the images outside of `test` that is `val`; 0: none.
        seed: Seed of the choice, which depends on it and the names of the groups alone.

    Raises:
        UserError: There are too few groups.
    """
    sizes = _sizes(items)
    if folds < 2:
        raise UserError(f"--folds must be 0 or at least 2, not {folds}", option="--folds")
    if len(sizes) < folds:
        raise UserError(
            f"--folds {folds} needs at least {folds} groups, and there are {len(sizes)}",
            option="--folds",
        )
    fold_of = balanced(sizes, folds, seed)
    result = []
    for fold in range(1, folds + 1):
        rest = {group: size for group, size in sizes.items() if fold_of[group] != fold}
        held = cut(rest, val, f"{seed} {fold}") if val else set()
        splits = {group: "val" if group in held else "train" for group in rest}
        splits |= {group: "test" for group in sizes if group not in rest}
        result.append(splits)
    _refuse_empty(items, result, val)
    return result


def given_split(items: Sequence[Item], val: float, seed: int) -> Splits:
    """Return the split of the dataset itself, with `val` cut from `train` if it has none.

    Raises:
        UserError: There is no `test`, or a group is in two splits.
    """
    splits: Splits = {}
    for item in items:
        if splits.setdefault(item.group, item.split) != item.split:
            raise UserError(
                f"the group {item.group} is in {splits[item.group]} and in {item.split}; choose "
                "--folds, which never divides a group, or other --groups",
                option="--groups",
            )
    if "test" not in splits.values():
        raise UserError(
            "the dataset has no test split, which a study reports; choose --folds 5",
            option="--folds",
        )
    if val and "val" not in splits.values():
        sizes = {g: size for g, size in _sizes(items).items() if splits[g] == "train"}
        splits |= dict.fromkeys(cut(sizes, val, f"{seed}"), "val")
    elif not val:
        splits = {group: split for group, split in splits.items() if split != "val"}
    _refuse_empty(items, [splits], val)
    return splits


def balanced(sizes: Sizes, folds: int, seed: int) -> dict[str, int]:
    """Return the fold of each group, from 1: the largest groups first, to the emptiest fold."""
    totals = [max(1, sum(size[side] for size in sizes.values())) for side in (0, 1)]
    loads = [[0.0, 0.0] for _ in range(folds)]
    result = {}
    for group in sorted(sizes, key=lambda one: (-sum(sizes[one]), _order(f"{seed}", one))):
        size = sizes[group]
        # Only the domains of this group count: groups of A alone are balanced among themselves.
        costs = [
            sum(n * load / total**2 for n, load, total in zip(size, loads[f], totals, strict=True))
            for f in range(folds)
        ]
        fold = costs.index(min(costs))
        loads[fold] = [load + n for load, n in zip(loads[fold], size, strict=True)]
        result[group] = fold + 1
    return result


def cut(sizes: Sizes, fraction: float, seed: str) -> set[str]:
    """Choose groups with about a fraction of the images of each domain; at least one, not all.

    `sizes` are the numbers of images of A and of B in each group. Returns no group if there is none
    to spare.
    """
    left = [fraction * sum(size[side] for size in sizes.values()) for side in (0, 1)]
    order = sorted(sizes, key=lambda one: _order(f"val {seed}", one))
    chosen = []
    for group in order:
        size = sizes[group]
        # Taken if that brings the domains of the group nearer to the fraction.
        if sum((n > 0) * (left[i] - n / 2) for i, n in enumerate(size)) > 0:
            chosen.append(group)
            left = [rest - n for rest, n in zip(left, size, strict=True)]
    for side in (0, 1):
        having = [group for group in order if sizes[group][side]]
        if having and not any(sizes[group][side] for group in chosen):
            chosen.append(min(having, key=lambda one: sizes[one][side]))
    return set(chosen) if len(chosen) < len(order) else set()


def _sizes(items: Iterable[Item]) -> dict[str, tuple[int, int]]:
    sizes: dict[str, tuple[int, int]] = {}
    for item in items:
        a, b = sizes.get(item.group, (0, 0))
        sizes[item.group] = a + bool(item.a), b + bool(item.b)
    return dict(sorted(sizes.items()))


def _order(seed: str, group: str) -> bytes:
    """Return a number that depends on the seed and the name alone, in every version of Python."""
    return hashlib.sha256(f"{seed} {group}".encode("utf-8", "surrogateescape")).digest()


def _refuse_empty(items: Sequence[Item], folds: Sequence[Splits], val: float) -> None:
    """Raise UserError if a split of a fold has no image of a domain."""
    for number, splits in enumerate(folds, start=1):
        where = f"fold {number}" if len(folds) > 1 else "the split"
        for split in SPLITS if val else ("train", "test"):
            own = [item for item in items if splits.get(item.group) == split]
            for domain, some in (("A", any(i.a for i in own)), ("B", any(i.b for i in own))):
                if not some:
                    option, advice = "--folds", "choose fewer --folds, or add groups"
                    if split == "val":
                        option, advice = "--val", "set --val 0 (the last epoch is reported)"
                    raise UserError(
                        f"{where} has no image of {domain} in {split}: there are too few groups; "
                        f"{advice}",
                        option=option,
                    )


def manifest_text(items: Sequence[Item], splits: Splits, folder: Path) -> str:
    """Return the manifest of a fold, to be written into a folder; paths are relative to it."""
    home = folder.resolve()

    def path(image: Path | None) -> str:
        if image is None:
            return ""
        image = image.absolute()
        return os.path.relpath(image, home) if image.anchor == home.anchor else str(image)

    masks = any(item.mask_a or item.mask_b for item in items)
    rows = [
        (splits[item.group], path(item.a), path(item.b), item.group)
        + ((path(item.mask_a), path(item.mask_b)) if masks else ())
        for item in items
        if item.group in splits
    ]
    rows.sort(key=lambda row: (SPLITS.index(row[0]), row[1:]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("split", "a", "b", "group", *(("mask_a", "mask_b") if masks else ())))
    writer.writerows(rows)
    return text.getvalue()


def write_manifest(path: Path, text: str) -> None:
    """Write a manifest. Names that are not UTF-8 stay as the file system gives them."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))
