"""Sort the images of a tree into splits, domains and groups, by the names of its folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import UserError
from ...images.sources import Source, printable
from .ambiguous import refuse_ambiguous, refuse_unlike
from .roles import SPLITS, Place, place_of
from .trees import Tree


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
    images, unused = _images(tree, domains, splits=True)
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
        refuse_ambiguous(_places(images), _places(unused), shown, instead)
        if partial:
            raise UserError(partial, option="data.layout", path=tree.root)
        if domains:
            refuse_unlike(_places(images), _places(unused), shown)
    elif partial:
        images, unused = _images(tree, domains, splits=False)
        inside, outside, found = [], images, set()
    splits = {split: [i for i in inside if i.place.split == split] for split in SPLITS}
    if "train" not in found:
        splits["train"] = outside
    used = [image for one in splits.values() for image in one]
    groups = len({image.place.group for image in used} - {""}) > 1
    return Splits(splits, len(images) - len(used) + len(unused), groups)


def where(images: Sequence[Image]) -> str:
    """Return the folder that images have in common; `*` stands for their groups."""
    paths = {image.place.path for image in images}
    if len(paths) == 1:
        return paths.pop()
    return "/".join(Counter(image.place.marks for image in images).most_common(1)[0][0])


def _images(tree: Tree, domains: bool, splits: bool) -> tuple[list[Image], list[Image]]:
    """Return the images in a domain and the others; every image, if there are no domains."""
    images: list[Image] = []
    others: list[Image] = []
    places: dict[str, Place] = {}
    for name, source in tree.files.items():
        folder, _, file = name.rpartition("/")
        place = places.get(folder) or place_of(folder, domains, splits)
        places[folder] = place
        image = Image(f"{place.rest}/{file}" if place.rest else file, source, place)
        (others if domains and not place.domain else images).append(image)
    return images, others


def _places(images: Iterable[Image]) -> list[Place]:
    return list({image.place.folder: image.place for image in images}.values())


def _at(shown: str, folder: str) -> str:
    return f"{shown}/{printable(folder)}"
