"""Split, domain and group of each image of a tree, by the names of its folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ...errors import UserError
from ...images.sources import Source, printable
from .roles import SPLITS, resembles, role_of
from .trees import Tree


class Place(NamedTuple):
    """Meaning of a folder's path, which may name a split and a domain at any depth."""

    split: str
    domain: str
    group: str
    """Folders above the domain's."""
    rest: str
    """All folders but the split's and the domain's."""
    marks: tuple[str, ...]
    """Path down to the last folder with a role; `*` stands for the folders without one."""
    path: str
    """The same path as it is."""
    nested: bool
    """The split's folder is inside of a folder without a role."""
    folder: str
    """The whole path."""
    clash: str
    """Path of a folder whose role contradicts that of a folder around it, or nothing."""


class Image(NamedTuple):
    name: str
    """Path without the folders of the split and the domain: images of a pair share it."""
    source: Source
    place: Place


@dataclass(frozen=True)
class Splits:
    """The images of each split, and those of a tree that are in none of them."""

    images: dict[str, list[Image]]
    unused: int
    groups: bool
    """Whether images are in two groups or more."""


@lru_cache(maxsize=65536)
def place_of(folder: str, domains: bool, splits: bool) -> Place:
    """Read a folder's path; `domains` and `splits`: whether such names have a meaning."""
    parts = folder.split("/") if folder else []
    split = domain = clash = ""
    known: list[int] = []
    split_at = domain_at = 0
    for i, part in enumerate(parts):
        role = role_of(part)
        says_split, says_domain = role.split * splits, role.domain * domains
        if (split and says_split not in ("", split)) or (
            domain and says_domain not in ("", domain)
        ):
            clash = clash or "/".join(parts[: i + 1])
            continue
        if says_split and not split:
            split, split_at = says_split, i
            known.append(i)
        if says_domain and not domain:
            domain, domain_at = says_domain, i
            known += [i] if i not in known else []
    last = known[-1] + 1 if known else 0
    plain = [i for i in range(len(parts)) if i not in known]
    marks: list[str] = []
    for i in range(last):
        if i in known or marks[-1:] != ["*"]:
            marks.append(parts[i] if i in known else "*")
    group = "/".join(parts[i] for i in plain if i < domain_at)
    rest = "/".join(parts[i] for i in plain)
    nested = bool(split) and any(i < split_at for i in plain)
    return Place(
        split, domain, group, rest, tuple(marks), "/".join(parts[:last]), nested, folder, clash
    )


def has_domains(tree: Tree) -> bool:
    """Whether a folder of the tree has the name of a domain."""
    folders = {name.rpartition("/")[0] for name in tree.files}
    return any(place_of(folder, True, True).domain for folder in folders)


def arrange(tree: Tree, shown: str, domains: bool, guess: bool) -> Splits:
    """Sort the images of a tree into splits.

    A split's folder may be stored at any depth if every image is in a split. Otherwise splits are
    folders of the data set itself or of its A/ and B/; images outside of them are those of
    `train` if no folder is.

    Args:
        tree: The image files of the data set.
        shown: Name of the data set in messages.
        domains: Whether folders named A and B are domains; images outside of them are not used.
        guess: Whether to refuse names that may mean something else. If not, folders with a
            split's name that do not divide the data set are folders like others.

    Raises:
        UserError: If a folder with a split's name is not used as one, or two folders are the same
            split, and `guess` is on.
    """
    every = list(_images(tree, domains, splits=True))
    images = [image for image in every if image.place.domain or not domains]
    inside = [image for image in images if image.place.split]
    outside = [image for image in images if not image.place.split]
    found = {image.place.split for image in inside}
    beside = [image for image in outside if image.place.rest]
    nested = next((image for image in inside if image.place.nested), None)
    instead = f"set --data.layout {'folders' if domains else 'side-by-side'}"
    partial = ""
    if outside and nested:
        partial = (
            f"{_at(shown, nested.place.path)} has a split's name, but {len(outside)} images outside"
            f" of it are in no split (such as {outside[0].source}); name the folder that "
            f"holds the splits as the data set, or {instead} to train on all images"
        )
    elif beside and found == {"train"}:
        partial = (
            f"{_at(shown, inside[0].place.path)} has a split's name, but {len(beside)} images in "
            f"folders beside it are in no split (such as {beside[0].source}); move every "
            f"image into a split's folder, or {instead} if train is no split here"
        )
    if guess:
        _refuse_clashes(images, shown, instead)
        _refuse_two_spellings(every, images, shown, instead)
        _refuse_near_splits(images, shown, instead)
        if partial:
            raise UserError(partial, option="data.layout", path=tree.root)
        if domains:
            _refuse_mixed(every, images, shown)
    elif partial:
        every = list(_images(tree, domains, splits=False))
        inside, outside, found = [], [i for i in every if i.place.domain or not domains], set()
    splits = {split: [i for i in inside if i.place.split == split] for split in SPLITS}
    if "train" not in found:
        splits["train"] = outside
    used = [image for one in splits.values() for image in one]
    groups = len({image.place.group for image in used} - {""}) > 1
    return Splits(splits, len(every) - len(used), groups)


def where(images: Sequence[Image]) -> str:
    """Return the folder that images have in common; `*` stands for their groups."""
    paths = {image.place.path for image in images}
    if len(paths) == 1:
        return paths.pop()
    return "/".join(Counter(image.place.marks for image in images).most_common(1)[0][0])


def _images(tree: Tree, domains: bool, splits: bool) -> Iterator[Image]:
    for name, source in tree.files.items():
        folder, _, file = name.rpartition("/")
        place = place_of(folder, domains, splits)
        yield Image(f"{place.rest}/{file}" if place.rest else file, source, place)


def _at(shown: str, folder: str) -> str:
    return f"{shown}/{printable(folder)}"


def _refuse_clashes(images: Iterable[Image], shown: str, instead: str) -> None:
    for image in images:
        if image.place.clash:
            raise UserError(
                f"the name of {_at(shown, image.place.clash)} contradicts a folder around it: both "
                f"name a split or a domain; rename one of them, or {instead} to use the outer one",
                option="data.layout",
            )


def _refuse_two_spellings(
    every: Iterable[Image], images: Iterable[Image], shown: str, instead: str
) -> None:
    """Refuse `val/` beside `valid/`, and `train/A/` beside `trainA/` or `A/train/`."""
    forms: dict[tuple[str, ...], dict[tuple[str, ...], str]] = {}
    for place in {image.place for image in images if image.place.split}:
        key = ("group", place.group, place.split, place.domain)
        forms.setdefault(key, {})[place.marks] = place.path
    for path in {image.place.path for image in every if image.place.split}:
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


def _refuse_near_splits(images: Iterable[Image], shown: str, instead: str) -> None:
    """Refuse `train2017/` beside `val2017/`, which would all be trained on."""
    beside: dict[str, set[str]] = {}
    for folder in {image.place.folder for image in images}:
        parts = folder.split("/")
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


def _refuse_mixed(every: Iterable[Image], images: Sequence[Image], shown: str) -> None:
    """Refuse a split without A/ and B/ where others have them, and groups beside an A/ and B/."""
    splits = {image.place.split for image in images}
    for image in every:
        place = image.place
        if place.split and not (place.domain or place.nested or place.split in splits):
            raise UserError(
                f"{_at(shown, place.path)} has images, but no folders A and B with images, as "
                f"other folders of {shown} have; sort its images into A and B, or set "
                "--data.layout: folders leaves them out, side-by-side cuts all files in half",
                option="data.layout",
            )
    for split in splits - ({""} if "train" in splits else set()):
        groups = {
            image.place.group: image.place.path for image in images if image.place.split == split
        }
        if "" in groups and len(groups) > 1:
            path = groups[max(groups)]
            raise UserError(
                f"{_at(shown, groups[''])} and {_at(shown, path)} both hold images: move those "
                "that are no part of the data set elsewhere, or set --data.layout folders to use "
                "every folder A and B",
                option="data.layout",
            )
