"""Detect the layout of a dataset and index its splits, by file names alone.

No image is opened, and `data.direction` is not applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import UserError
from ...images.sources import printable, unread
from ..config import DataConfig
from .ambiguous import ambiguities, partial_split
from .files import FileTree, read_tree, refuse_other_formats
from .manifest import Manifest, index_manifest, is_manifest, read_manifest
from .masks import separate_masks, with_masks
from .pairing import SplitIndex, by_stem, in_one_folder, names_of, pair
from .roles import SPLITS, Entry, common_folder, other_domain, read_folder, role_of
from .subsets import hold_out, subset

Data = Path | str | FileTree | Manifest


def list_images(path: Path | str) -> FileTree | Manifest:
    """List the images of a dataset, to index it several times.

    Raises:
        UserError: The path is not a dataset.
    """
    path = Path(path)
    return read_manifest(path) if is_manifest(path) else read_tree(path)


def index_split(
    data: Data, split: str, paired: bool, config: DataConfig | None = None
) -> SplitIndex | None:
    """Return the images of one split, or None if the dataset has no such split.

    Args:
        data: The dataset, or the result of `list_images`.
        split: `train`, `val` or `test`; images in no split are those of `train`.
        paired: Whether A and B are pairs.
        config: Settings, see `index_splits`.

    Raises:
        UserError: As `index_splits`.
    """
    return index_splits(data, paired, config, (split,)).get(split)


def index_splits(
    data: Data, paired: bool, config: DataConfig | None = None, wanted: Sequence[str] = SPLITS
) -> dict[str, SplitIndex]:
    """Return the images of each split that the dataset has.

    Folders named A and B at any depth, also beside or inside of splits (`trainA`, `train/A`,
    `A/train`, `p1/A`), are domains; folders that each contain an A and a B are groups. Without
    them, images are paired by name patterns if most names match; else files are side by side.

    Args:
        data: The dataset, or the result of `list_images`.
        paired: Whether A and B are pairs.
        config: Settings: `layout`, patterns, `hold_out` and `max_images`.
        wanted: The splits to index.

    Raises:
        UserError: There is nothing to train on, a domain is empty, no pair is found, names can be
            read in several ways, or `hold_out` is set and there is a val or test split.
    """
    config = config or DataConfig()
    data = data if isinstance(data, FileTree | Manifest) else list_images(data)
    data, masks = separate_masks(data, config)
    wanted = SPLITS if config.hold_out else wanted
    if isinstance(data, Manifest):
        every = {split: index_manifest(data, split, paired, config.layout) for split in wanted}
        splits = {split: index for split, index in every.items() if index is not None}
    else:
        splits = _index_tree(data, paired, config, wanted)
    if masks:
        found = with_masks(splits, masks)
        splits = {
            split: replace(index, masks={**index.masks, **found}) for split, index in splits.items()
        }
    if config.hold_out:
        if others := list(splits.keys() - {"train"}):
            raise UserError(
                f"data.hold_out {config.hold_out:g} takes validation images from train, but "
                f"{printable(data.root)} has a {others[0]} split; set data.hold_out 0 to use "
                "that",
                option="data.hold_out",
                path=data.root,
            )
        splits["train"], splits["val"] = hold_out(splits["train"], config.hold_out, paired)
    if config.max_images and "train" in splits:
        splits["train"] = subset(splits["train"], config.max_images, paired)
    return splits


def _index_tree(
    tree: FileTree, paired: bool, config: DataConfig, wanted: Sequence[str]
) -> dict[str, SplitIndex]:
    tree, layout = _unwrap(tree), config.layout
    if layout == "auto" and any(read_folder(f, True, True).domain for f in _folders(tree)):
        layout = "folders"
    entries, others = _entries(tree, layout, splits=True)
    partial = partial_split(tree, entries, layout)
    if config.layout == "auto":
        for problem in ambiguities(tree, entries, others, config, layout, partial):
            raise UserError(problem, option="data.layout", path=tree.root)
    elif partial:  # folders named like splits are not splits
        entries, others = _entries(tree, layout, splits=False)
    splits = {split: [e for e in entries if e.folder.split == split] for split in SPLITS}
    splits["train"] = splits["train"] or [e for e in entries if not e.folder.split]
    used = [entry for members in splits.values() for entry in members]
    unused = len(tree.files) - len(used)
    grouped = len({entry.folder.group for entry in used} - {""}) > 1
    indexed = {}
    for split in wanted:
        members = splits[split]
        if not members and split == "train":
            raise _nothing_to_train_on(tree, config, splits)
        if not members:
            continue
        if layout == "folders":
            index = _in_folders(tree, members, paired, unused)
        else:
            index = in_one_folder(members, tree.label(common_folder(members)), paired, config)
        groups = {e.source: e.folder.group for e in members if e.folder.group and grouped}
        count = len(set(groups.values()))
        text = f", {count} groups" if count > 1 else ""
        if split == "train" and unused:
            text += f" ({unused} images elsewhere are not used)"
        indexed[split] = replace(index, layout=index.layout + text, groups=groups)
    return indexed


def _unwrap(tree: FileTree) -> FileTree:
    """Return the tree below the folders that contain all images (archives often have one)."""
    files = tree.files
    prefix = ""
    while files:
        top, slash, _ = next(iter(files)).partition("/")
        if not slash or any(role_of(top)) or not all(name.startswith(top + "/") for name in files):
            break
        prefix += top + slash
        files = {name[len(top) + 1 :]: source for name, source in files.items()}
    return replace(tree, files=files, prefix=prefix)


def _folders(tree: FileTree) -> set[str]:
    return {name.rpartition("/")[0] for name in tree.files}


def _entries(tree: FileTree, layout: str, splits: bool) -> tuple[list[Entry], list[Entry]]:
    """Return the images in a domain, and the others; all images if domains are not folders."""
    images: list[Entry] = []
    others: list[Entry] = []
    for name, source in tree.files.items():
        path, _, file = name.rpartition("/")
        folder = read_folder(path, layout == "folders", splits)
        entry = Entry(f"{folder.rest}/{file}" if folder.rest else file, source, folder)
        (others if layout == "folders" and not folder.domain else images).append(entry)
    return images, others


def _in_folders(tree: FileTree, entries: Sequence[Entry], paired: bool, unused: int) -> SplitIndex:
    """Index the images of folders A and B."""
    a, b = ([entry for entry in entries if entry.folder.domain == side] for side in "ab")
    if not (a and b):
        path = common_folder(entries)
        parts = [other_domain(part) if role_of(part).domain else part for part in path.split("/")]
        others = f" ({unused} images are elsewhere)" if unused else ""
        raise UserError(
            f"{printable(tree.root)} has images in {printable(tree.prefix + path)}, but no "
            f"folder {printable(tree.prefix + '/'.join(parts))} with images beside it{others}"
            f"{_skipped(tree)}; move images there, or, if these are not domains, set --data.layout "
            "to side-by-side, patterns or photos",
            option="data.layout",
            path=tree.root,
        )
    text = f"{tree.label(common_folder(a))} and {tree.label(common_folder(b))}"
    keyed_a, keyed_b = (by_stem((e.name, e.source) for e in side) for side in (a, b))
    if paired:
        return pair(keyed_a, keyed_b, f"pairs by name in {text}")
    sides = [tuple(entry.source for entry in side) for side in (a, b)]
    return SplitIndex(f"folders {text}", sides[0], sides[1], names=names_of(keyed_a, keyed_b))


LAYOUTS = {
    "folders": "folders A/ and B/, train/A/ and train/B/, A/train/ and B/train/, or trainA/ and "
    "trainB/",
    "side-by-side": "files with A and B side by side, in train/ or directly in the folder",
    "patterns": "files named by data.pattern_a and data.pattern_b, in train/ or directly in it",
    "photos": "images in train/ or directly in it",
}


def _nothing_to_train_on(
    tree: FileTree, config: DataConfig, splits: dict[str, list[Entry]]
) -> UserError:
    refuse_other_formats(tree)
    fits = LAYOUTS.get(config.layout) or "; or ".join(
        f"{fit} (--data.layout {name})" for name, fit in LAYOUTS.items()
    )
    others = [f"{len(members)} are in {split}" for split, members in splits.items() if members]
    text = f" ({' and '.join(others)})" if others else ""
    return UserError(
        f"{printable(tree.root)} has no images to train on{text}; it needs {fits}{_skipped(tree)}",
        path=tree.root,
    )


def _skipped(tree: FileTree) -> str:
    """Return a clause on files that are not used, which may be the missing images."""
    parts = [f"not read: {group}" for group in unread(tree.other)]
    if tree.skipped:
        name, reason = tree.skipped[0]
        parts.insert(0, f"skipped: {len(tree.skipped)}, such as {name}: {reason}")
    return f" ({'; '.join(parts)})" if parts else ""
