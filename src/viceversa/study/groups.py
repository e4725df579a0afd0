"""Groups of images (patients, slides, scenes) that folds must not divide."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..data import DataConfig, SplitIndex
from ..data.index import FileTree, Manifest, index_splits, list_images
from ..data.index.manifest import is_manifest, read_manifest
from ..errors import UserError
from ..fields import counted
from ..images.sources import Source, printable

OPTION = "--groups"
FORMS = "column:NAME, folder:NUMBER or name:REGULAR EXPRESSION"
Rule = Callable[[str], str | None]
"""Returns the group for the name of an image; None if the name has none."""


class Item(NamedTuple):
    """Images that belong together: a pair, a side-by-side file, or one unpaired image."""

    split: str
    """The split of the dataset that contains it."""
    a: Path | None
    b: Path | None
    group: str
    mask_a: Path | None = None
    mask_b: Path | None = None


def read_items(
    config: DataConfig, paired: bool, groups: str, note: Callable[[str], None] = lambda text: None
) -> list[Item]:
    """List the images of all splits of a dataset with their groups.

    Args:
        config: Settings of the data.
        paired: Whether A and B are pairs.
        groups: `column:NAME` of a manifest; `folder:NUMBER`, a folder of the image's name, counted
            from 1 or, if negative, from the end; `name:REGULAR EXPRESSION`, its first group, or its
            match; empty: the groups of the dataset, or each image or pair by itself.
        note: Called with a sentence on images that are not used.

    Raises:
        UserError: The dataset or `groups` is invalid, or an image has no group.
    """
    kind, _, value = groups.partition(":")
    splits = index_splits(_listed(config, value if kind == "column" else ""), paired, config)
    rule = _rule(kind, value)
    items = []
    for split, index in splits.items():
        _refuse_missing_masks(index, config)
        items += _items(split, index, paired, rule)
        if index.unmatched:
            left = counted(len(index.unmatched), "image")
            note(f"{split}: left out: {left} without a partner")
    return _joined(items)


def _listed(config: DataConfig, column: str) -> FileTree | Manifest:
    path = Path(config.path)
    if column and not is_manifest(path):
        raise UserError(
            f"{OPTION} column:{column} needs a manifest (.csv or .jsonl), and {printable(path)} is "
            f"none; use folder:NUMBER or name:REGULAR EXPRESSION",
            option=OPTION,
        )
    data = read_manifest(path, column) if column else list_images(path)
    if isinstance(data, FileTree) and any(one.member for one in data.files.values()):
        raise UserError(
            f"{printable(path)} is an archive, whose images cannot be listed in the manifests of "
            "the folds; unpack it",
            path=path,
        )
    return data


def _rule(kind: str, value: str) -> Rule | None:
    """Return the rule of `folder:` or `name:`; None if the groups are those of the dataset."""
    if kind in ("", "column") and (value or not kind):
        return None
    if kind == "folder" and re.fullmatch(r"-?[1-9]\d?", value):
        return lambda name: _folder(name, int(value))
    if kind == "name" and value:
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise UserError(
                f"{OPTION} name:{value} is not a regular expression: {error}", option=OPTION
            ) from None
        return lambda name: _matched(pattern, name)
    given = f"{kind}:{value}" if value else kind
    raise UserError(f"{OPTION} takes {FORMS}, not {given!r}", option=OPTION)


def _folder(name: str, number: int) -> str | None:
    folders = name.split("/")[:-1]
    at = number - 1 if number > 0 else number
    return folders[at] if -len(folders) <= at < len(folders) else None


def _matched(pattern: re.Pattern[str], name: str) -> str | None:
    match = pattern.search(name)
    return match and (match[1] if pattern.groups else match[0])


def _items(split: str, index: SplitIndex, paired: bool, rule: Rule | None) -> list[Item]:
    def group(source: Source) -> str:
        name = index.name_of(source)
        if rule is None:
            # The same name in another split is another image.
            return index.groups.get(source) or f"{split}/{name}"
        found = rule(name)
        if not found:
            raise UserError(
                f"{OPTION} finds no group in the name {printable(name)}; the name is the path "
                "without the folders of splits and domains",
                option=OPTION,
                path=source.path,
            )
        return found

    def item(a: Source | None, b: Source | None, group: str) -> Item:
        path_a, path_b = (one.path if one else None for one in (a, b))
        return Item(split, path_a, path_b, group, _mask(index, "a", a), _mask(index, "b", b))

    if index.a == index.b:  # side by side, or photos
        return [item(one, one, group(one)) for one in index.a]
    if not paired:
        sides = [item(one, None, group(one)) for one in index.a]
        return sides + [item(None, one, group(one)) for one in index.b]
    items = []
    for a, b in zip(index.a, index.b, strict=True):
        items += [item(a, b, group(a)), item(a, b, group(b))]
    return items


def _refuse_missing_masks(index: SplitIndex, config: DataConfig) -> None:
    """Raise UserError if an image has no mask: a manifest would list it as valid everywhere."""
    for domain in "ab":
        folder = getattr(config, domain).masks
        for source in index.files(domain) if folder else ():
            if (domain, source) not in index.masks:
                raise UserError(
                    f"{source} has no mask of its name in {printable(folder)}; add it, or remove "
                    "the image",
                    option=f"data.{domain}.masks",
                    path=source.path,
                )


def _mask(index: SplitIndex, domain: str, source: Source | None) -> Path | None:
    """Return the mask file of an image. Raises UserError if it is in an archive."""
    mask = index.masks.get((domain, source)) if source else None
    if mask and mask.member:
        raise UserError(
            f"{printable(mask.path)} is an archive of masks, which cannot be listed in the "
            "manifests of the folds; unpack it",
            option=f"data.{domain}.masks",
            path=mask.path,
        )
    return mask.path if mask else None


Key = tuple[str, str]


def _joined(items: list[Item]) -> list[Item]:
    """Join groups that share an image, and list each item once."""
    parent: dict[Key, Key] = {}

    def top(one: Key) -> Key:
        while (above := parent.setdefault(one, one)) != one:
            parent[one] = one = parent[above]
        return one

    for item in items:
        for path in filter(None, (item.a, item.b)):
            # The first name stays on top, so that the result does not depend on the order.
            low, high = sorted((top(("group", item.group)), top(("path", str(path)))))
            parent[high] = low
    return list(dict.fromkeys(one._replace(group=top(("group", one.group))[1]) for one in items))
