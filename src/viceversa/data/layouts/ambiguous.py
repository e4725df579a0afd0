"""Refuse trees whose folder names can be read in several ways; only if the layout is detected."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import UserError
from ...images.sources import printable
from .roles import Place, resembles, role_of


def refuse_ambiguous(
    places: Sequence[Place], others: Sequence[Place], shown: str, instead: str
) -> None:
    """Refuse names that contradict each other or that may be meant as a split.

    Args:
        places: Folders of the images that can be used.
        others: Folders of images in no domain, where there are domains.
        shown: Name of the data set in messages.
        instead: Clause that names the option to set.

    Raises:
        UserError: If folders inside of each other, or two folders at one place, contradict.
    """
    for place in places:
        if place.clash:
            raise UserError(
                f"the name of {_at(shown, place.clash)} contradicts a folder around it: both name a"
                f" split or a domain; rename one of them, or {instead} to use the outer one",
                option="data.layout",
            )
    _refuse_two_spellings(places, others, shown, instead)
    _refuse_near_splits(places, shown, instead)


def _at(shown: str, folder: str) -> str:
    return f"{shown}/{printable(folder)}"


def _refuse_two_spellings(
    places: Sequence[Place], others: Sequence[Place], shown: str, instead: str
) -> None:
    """Refuse `val/` beside `valid/`, and `train/A/` beside `trainA/` or `A/train/`."""
    forms: dict[tuple[str, ...], dict[tuple[str, ...], str]] = {}
    for place in places:
        if place.split:
            key = ("group", place.group, place.split, place.domain)
            forms.setdefault(key, {})[place.marks] = place.path
    for path in {place.path for place in (*places, *others) if place.split}:
        parts = path.split("/")
        for i, part in enumerate(parts):
            split, domain = role_of(part)
            if split:
                key = ("parent", "/".join(parts[:i]), split, domain)
                forms.setdefault(key, {})[(part,)] = "/".join(parts[: i + 1])
    for (_, _, split, _), paths in sorted(forms.items()):
        if len(paths) > 1:
            one, two = sorted(paths.values())[:2]
            raise UserError(
                f"{_at(shown, one)} and {_at(shown, two)} are both named like the split {split}; "
                f"merge them or rename one, or {instead} to use both as {split}",
                option="data.layout",
            )


def _refuse_near_splits(places: Sequence[Place], shown: str, instead: str) -> None:
    """Refuse `train2017/` beside `val2017/`, which would all be trained on."""
    beside: dict[str, set[str]] = {}
    for place in places:
        parts = place.folder.split("/")
        for i, part in enumerate(parts):
            beside.setdefault("/".join(parts[:i]), set()).add(part)
    for parent, names in sorted(beside.items()):
        known = {role_of(name).split for name in names} - {""}
        near = {split: name for name in sorted(names, reverse=True) if (split := resembles(name))}
        if len(known | near.keys()) > 1 and (unknown := sorted(near.keys() - known)):
            name = f"{parent}/{near[unknown[0]]}" if parent else near[unknown[0]]
            raise UserError(
                f"{_at(shown, name)} looks like a split, but has not the name of one; rename it to "
                f"{unknown[0]}, or {instead} to train on all images",
                option="data.layout",
            )


def refuse_unlike(places: Sequence[Place], others: Sequence[Place], shown: str) -> None:
    """Refuse a split without A/ and B/ where others have them, and groups beside an A/ and B/.

    Raises:
        UserError: For the first such folder; arguments as of `refuse_ambiguous`.
    """
    splits = {place.split for place in places}
    for place in others:
        if place.split and not (place.nested or place.split in splits):
            raise UserError(
                f"{_at(shown, place.path)} has images, but no folders A and B with images, as "
                f"other folders of {shown} have; sort its images into A and B, or set "
                "--data.layout: folders leaves them out, side-by-side cuts all files in half",
                option="data.layout",
            )
    for split in splits - ({""} if "train" in splits else set()):
        groups = {place.group: place.path for place in places if place.split == split}
        if "" in groups and len(groups) > 1:
            path = groups[max(groups)]
            raise UserError(
                f"{_at(shown, groups[''])} and {_at(shown, path)} both hold images: move those "
                "that are no part of the data set elsewhere, or set --data.layout folders to use "
                "every folder A and B",
                option="data.layout",
            )
