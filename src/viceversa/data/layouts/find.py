"""Detect the layout of a data set and sort its images into splits, by names alone.

No image is opened, and no direction is applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ...errors import UserError
from ...images.endings import unread
from ...images.sources import printable
from ..config import DataConfig
from .found import Found
from .manifest import Manifest, is_manifest, listed, read_manifest
from .one_folder import in_one, patterns_of
from .pairing import Named, by_stem, pairs, stem
from .parts import divide, sample
from .places import Image, Splits, arrange, has_domains, where
from .roles import SPLITS, partner, role_of
from .trees import Tree, read_tree, refuse_unread

FITS = {
    "folders": "folders A/ and B/, train/A/ and train/B/, A/train/ and B/train/, or trainA/ and "
    "trainB/",
    "side-by-side": "files with A and B side by side, in train/ or by themselves",
    "patterns": "files named as data.pattern_a and data.pattern_b say, in train/ or by themselves",
    "photos": "images in train/ or by themselves",
}


def look(path: Path | str) -> Tree | Manifest:
    """Read the names at a path once, for `find` to sort into several splits.

    Raises:
        UserError: If there is nothing that could be data.
    """
    path = Path(path)
    return read_manifest(path) if is_manifest(path) else read_tree(path)


def find(
    data: Path | str | Tree | Manifest, split: str, paired: bool, config: DataConfig | None = None
) -> Found | None:
    """Return the images of a split, or None if the data set has no such split.

    Folders named A and B at any depth, also beside or inside of splits (`trainA`, `train/A`,
    `A/train`, `p1/A`), are domains; folders that each hold an A and a B are groups. Without them,
    images are paired by patterns of names, if all fit, or files have A and B side by side.

    Args:
        data: The data set, or what `look` returned for it.
        split: `train`, `val` or `test`; images in no split are those of `train`.
        paired: Whether `a[i]` must belong to `b[i]`.
        config: `config.layout` decides the layout unless it is `auto`; `config.hold_out` makes a
            `val` of a part of `train`, and `config.max_images` leaves out another part of it.

    Raises:
        UserError: If there is nothing to train on, a domain is empty, no pair is found, names can
            be read in several ways, or `config.hold_out` is set and there is a val or test split.
    """
    config = config or DataConfig()
    if config.hold_out:
        return find_all(data, paired, config).get(split)
    names = data if isinstance(data, Tree | Manifest) else look(data)
    if isinstance(names, Manifest):
        found = listed(names, split, paired, config.layout)
    else:
        found = _found(_sorted(names, config), split, paired)
    if found is not None and split == "train" and config.max_images:
        return sample(found, config.max_images, paired)
    return found


def find_all(
    data: Path | str | Tree | Manifest, paired: bool, config: DataConfig
) -> dict[str, Found]:
    """Return the images of every split that the data set has; arguments and errors as `find`."""
    names = data if isinstance(data, Tree | Manifest) else look(data)
    if isinstance(names, Manifest):
        each = {split: listed(names, split, paired, config.layout) for split in SPLITS}
    else:
        tree = _sorted(names, config)
        each = {split: _found(tree, split, paired) for split in SPLITS}
    splits = {split: found for split, found in each.items() if found is not None}
    if config.hold_out:
        _refuse_other_splits(names, splits, config.hold_out)
        splits["train"], splits["val"] = divide(splits["train"], config.hold_out, paired)
    if config.max_images:
        splits["train"] = sample(splits["train"], config.max_images, paired)
    return splits


def _refuse_other_splits(
    data: Tree | Manifest, splits: Mapping[str, Found], hold_out: float
) -> None:
    for split in splits.keys() - {"train"}:
        root = data.path if isinstance(data, Manifest) else data.root
        raise UserError(
            f"data.hold_out {hold_out:g} takes validation images from train, but "
            f"{printable(str(root))} has a {split} split; set data.hold_out 0 to use that",
            option="data.hold_out",
            path=root,
        )


def describe(split: str, found: Found) -> str:
    """Return a line on a split for the user: how many images it has and how they are laid out."""
    return f"{split:<6}{len(found.a)} of A, {len(found.b)} of B: {found.layout}"


class _Sorted(NamedTuple):
    """A tree whose images are in splits."""

    tree: Tree
    outer: str
    """The folders around all images."""
    shown: str
    """Name of the data set in messages."""
    splits: Splits
    domains: bool
    """Whether A and B are folders."""
    config: DataConfig


def _sorted(tree: Tree, config: DataConfig) -> _Sorted:
    tree, outer = _unwrap(tree)
    shown = printable(str(PurePosixPath(tree.root.name or tree.root.resolve().name, outer)))
    guess = config.layout == "auto"
    domains = config.layout == "folders" or (guess and has_domains(tree))
    splits = arrange(tree, shown, domains, guess)
    if not domains:
        _refuse_unlike(splits, shown, config)
    return _Sorted(tree, outer, shown, splits, domains, config)


def _found(data: _Sorted, split: str, paired: bool) -> Found | None:
    tree, splits, config = data.tree, data.splits, data.config
    images = splits.images[split]
    if not images and split == "train":
        refuse_unread(tree)
        fits = FITS.get(config.layout) or "; or ".join(
            f"{fit} (--data.layout {name})" for name, fit in FITS.items()
        )
        others = [f"{len(held)} are in {name}" for name, held in splits.images.items() if held]
        told = f" ({' and '.join(others)})" if others else ""
        raise UserError(
            f"{printable(str(tree.root))} holds no images to train on{told}; it needs {fits}"
            f"{_left(tree)}",
            path=tree.root,
        )
    if not images:
        return None
    if data.domains:
        _refuse_one_domain(tree, data.outer, images, splits.unused)
        found = _in_folders(images, data.shown, paired)
    else:
        found = in_one(_named(images), _at(data.shown, where(images)), paired, config)
    groups = {i.source: i.place.group for i in images if i.place.group} if splits.groups else {}
    return replace(found, layout=found.layout + _said(splits, images, split), groups=groups)


def _unwrap(tree: Tree) -> tuple[Tree, str]:
    """Return the tree below the folder that holds all of it (archives often have one), and that."""
    outer, files = "", tree.files
    while files:
        top, slash, _ = next(iter(files)).partition("/")
        if not slash or any(role_of(top)):
            break
        if not all(name.startswith(top + slash) for name in files):
            break
        outer += top + slash
        files = {name[len(top) + 1 :]: source for name, source in files.items()}
    return replace(tree, files=files), outer


def _at(shown: str, folder: str) -> str:
    return f"{shown}/{printable(folder)}" if folder else shown


def _left(tree: Tree) -> str:
    """A clause on what the walk left alone, where it may be what one misses."""
    parts = [f"not read: {group}" for group in unread(tree.unread)]
    if tree.odd:
        name, why = tree.odd[0]
        parts.insert(0, f"left alone: {len(tree.odd)}, such as {name}: {why}")
    return f" ({'; '.join(parts)})" if parts else ""


def _said(splits: Splits, images: list[Image], split: str) -> str:
    """A clause on groups and on images that are in no split or domain."""
    groups = {image.place.group for image in images} - {""}
    said = f", {len(groups)} groups" if len(groups) > 1 else ""
    if split == "train" and splits.unused:
        said += f" ({splits.unused} images elsewhere are not used)"
    return said


def _named(images: list[Image]) -> list[Named]:
    return [(image.name, image.source) for image in images]


def _refuse_unlike(splits: Splits, shown: str, config: DataConfig) -> None:
    """Refuse splits of several layouts: one may have been read in a way that it is not meant."""
    ways: dict[str, str] = {}
    for split, images in splits.images.items():
        if not images:
            continue
        patterns = patterns_of(_named(images), config)
        ways.setdefault(" and ".join(patterns) if patterns else "A and B side by side", split)
    if len(ways) > 1:
        (one, first), (other, second) = list(ways.items())[:2]
        raise UserError(
            f"the splits of {shown} have several layouts: the files of {first} are read as {one}, "
            f"those of {second} as {other}; name the files in one way, or set --data.layout to "
            "patterns or side-by-side",
            option="data.layout",
        )


def _refuse_one_domain(tree: Tree, outer: str, images: list[Image], unused: int) -> None:
    if len({image.place.domain for image in images}) == 2:
        return
    full = where(images)
    missing = "/".join(partner(part) if role_of(part).domain else part for part in full.split("/"))
    others = f" ({unused} images are elsewhere)" if unused else ""
    raise UserError(
        f"{printable(str(tree.root))} has images in {printable(outer + full)}, but no folder "
        f"{printable(outer + missing)} with images beside it{others}{_left(tree)}; move images "
        "there, or, if these are no domains, set --data.layout to side-by-side, patterns or photos",
        option="data.layout",
        path=tree.root,
    )


def _in_folders(images: list[Image], shown: str, paired: bool) -> Found:
    """Return the images of folders A and B."""
    a, b = ([image for image in images if image.place.domain == side] for side in "ab")
    at = f"{_at(shown, where(a))} and {_at(shown, where(b))}"
    if paired:
        return pairs(by_stem(_named(a)), by_stem(_named(b)), f"pairs by name in {at}")
    names = {image.source: stem(image.name) for image in images}
    sides = [tuple(image.source for image in side) for side in (a, b)]
    return Found(f"folders {at}", sides[0], sides[1], names=names)
