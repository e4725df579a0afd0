"""Find folder names that can be read in several ways, if the layout is detected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..config import DataConfig
from .files import FileTree
from .pairing import patterns_of
from .roles import SPLITS, Entry, FolderRole, resembles, role_of


def partial_split(tree: FileTree, entries: Sequence[Entry], layout: str) -> str:
    """Return the problem if only part of the images is in folders named like splits, else "".

    If every image is in a split, the split's folder may be at any depth. Otherwise splits are
    folders of the dataset itself or of its A/ and B/, and images outside of them are those of
    `train` if no folder is.
    """
    inside = [entry for entry in entries if entry.folder.split]
    outside = [entry for entry in entries if not entry.folder.split]
    beside = [entry for entry in outside if entry.folder.rest]
    nested = next((entry for entry in inside if entry.folder.nested), None)
    if outside and nested:
        return (
            f"{tree.label(nested.folder.named)} has a split's name, but {len(outside)} images "
            f"outside of it are in no split (such as {outside[0].source}); name the folder that "
            f"contains the splits as the dataset, or {_instead(layout)} to train on all images"
        )
    if beside and {entry.folder.split for entry in inside} == {"train"}:
        return (
            f"{tree.label(inside[0].folder.named)} has a split's name, but {len(beside)} images in "
            f"folders beside it are in no split (such as {beside[0].source}); move every image "
            f"into a split's folder, or {_instead(layout)} if train is not a split here"
        )
    return ""


def ambiguities(
    tree: FileTree,
    used: Sequence[Entry],
    unused: Sequence[Entry],
    config: DataConfig,
    layout: str,
    partial: str,
) -> Iterator[str]:
    """Yield each problem, the most important first.

    Args:
        tree: The files of the dataset.
        used: Images that are in a domain, or all if domains are not folders.
        unused: The other images.
        config: Settings of the data.
        layout: `folders` if domains are folders.
        partial: The problem that `partial_split` returned.
    """
    folders, others = (
        list({entry.folder.path: entry.folder for entry in side}.values())
        for side in (used, unused)
    )
    for folder in folders:
        if folder.conflict:
            yield (
                f"the name of {tree.label(folder.conflict)} contradicts a folder around it: both "
                f"name a split or a domain; rename one of them, or {_instead(layout)} to use the "
                "outer one"
            )
    yield from _two_spellings(tree, folders, others, layout)
    yield from _near_splits(tree, folders, layout)
    if partial:
        yield partial
    if layout == "folders":
        yield from _unlike(tree, folders, others)
    else:
        yield from _two_layouts(tree, used, config)


def _instead(layout: str) -> str:
    return f"set --data.layout {'folders' if layout == 'folders' else 'side-by-side'}"


def _two_spellings(
    tree: FileTree, folders: Sequence[FolderRole], others: Sequence[FolderRole], layout: str
) -> Iterator[str]:
    """Find `val/` beside `valid/`, and `train/A/` beside `trainA/` or `A/train/`."""
    spellings: dict[tuple[str, ...], dict[str, str]] = {}
    for folder in folders:
        if folder.split:
            key = ("group", folder.group, folder.split, folder.domain)
            spellings.setdefault(key, {})[folder.pattern] = folder.named
    for path in {folder.named for folder in (*folders, *others) if folder.split}:
        parts = path.split("/")
        for i, part in enumerate(parts):
            role = role_of(part)
            if role.split:
                key = ("parent", "/".join(parts[:i]), *role)
                spellings.setdefault(key, {})[part] = "/".join(parts[: i + 1])
    for (_, _, split, _), paths in sorted(spellings.items()):
        if len(paths) > 1:
            one, two = sorted(paths.values())[:2]
            yield (
                f"{tree.label(one)} and {tree.label(two)} are both named like the split {split}; "
                f"merge them or rename one, or {_instead(layout)} to use both as {split}"
            )


def _near_splits(tree: FileTree, folders: Sequence[FolderRole], layout: str) -> Iterator[str]:
    """Find `train2017/` beside `val2017/`, which would all be trained on."""
    beside: dict[str, set[str]] = {}
    for folder in folders:
        parts = folder.path.split("/")
        for i, part in enumerate(parts):
            beside.setdefault("/".join(parts[:i]), set()).add(part)
    for parent, names in sorted(beside.items()):
        known = {role_of(name).split for name in names} - {""}
        near = {split: name for name in sorted(names, reverse=True) if (split := resembles(name))}
        if len(known | near.keys()) > 1 and (unknown := sorted(near.keys() - known)):
            path = f"{parent}/{near[unknown[0]]}" if parent else near[unknown[0]]
            yield (
                f"{tree.label(path)} looks like a split, but does not have the name of one; rename "
                f"it to {unknown[0]}, or {_instead(layout)} to train on all images"
            )


def _unlike(
    tree: FileTree, folders: Sequence[FolderRole], others: Sequence[FolderRole]
) -> Iterator[str]:
    """Find a split without A/ and B/ where others have them, and groups beside an A/ and B/."""
    splits = {folder.split for folder in folders}
    for other in others:
        if other.split and not (other.nested or other.split in splits):
            yield (
                f"{tree.label(other.named)} has images, but no folders A and B with images, as "
                f"other folders of {tree.label()} have; sort its images into A and B, or set "
                "--data.layout: folders leaves them out, side-by-side cuts all files in half"
            )
    for split in splits - ({""} if "train" in splits else set()):
        groups = {folder.group: folder.named for folder in folders if folder.split == split}
        if "" in groups and len(groups) > 1:
            yield (
                f"{tree.label(groups[''])} and {tree.label(groups[max(groups)])} both contain "
                "images: move those that do not belong to the dataset elsewhere, or set "
                "--data.layout folders to use every folder A and B"
            )


def _two_layouts(tree: FileTree, entries: Sequence[Entry], config: DataConfig) -> Iterator[str]:
    """Find splits of several layouts: one may be read in a way that is not intended."""
    layouts: dict[str, str] = {}
    splits = {entry.folder.split for entry in entries}
    for split in SPLITS:
        outside = "" if split == "train" and "train" not in splits else split
        members = [entry for entry in entries if entry.folder.split == outside]
        if members:
            patterns = patterns_of(members, config)
            text = " and ".join(patterns) if patterns else "A and B side by side"
            layouts.setdefault(text, split)
    if len(layouts) > 1:
        (one, first), (other, second) = list(layouts.items())[:2]
        yield (
            f"the splits of {tree.label()} have several layouts: the files of {first} are read as "
            f"{one}, those of {second} as {other}; name all files in the same way, or set "
            "--data.layout to patterns or side-by-side"
        )
