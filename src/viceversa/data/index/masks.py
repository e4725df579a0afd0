"""Mask files of images: by name in a folder, or by a column of a manifest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ...errors import UserError
from ...images.sources import Source, printable
from ..config import DataConfig
from .files import FileTree, read_tree
from .manifest import Manifest
from .pairing import Masks, SplitIndex, stem

Files = dict[str, Source]


def separate_masks(
    data: FileTree | Manifest, config: DataConfig
) -> tuple[FileTree | Manifest, dict[str, Files]]:
    """Return the data without their mask files, and the mask files by domain and name.

    A relative `data.a.masks` is a folder in the dataset or, if there is none, in the current
    directory.

    Raises:
        UserError: There is no such folder.
    """
    masks: dict[str, Files] = {}
    inside: set[Source] = set()
    for domain in "ab":
        if folder := getattr(config, domain).masks:
            files, in_data = _mask_files(data, folder, f"data.{domain}.masks")
            masks[domain] = files
            inside |= set(files.values()) if in_data else set()
    if inside and isinstance(data, FileTree):
        data = replace(data, files={n: one for n, one in data.files.items() if one not in inside})
    return data, masks


def _mask_files(data: FileTree | Manifest, text: str, option: str) -> tuple[Files, bool]:
    """Return the files of a mask folder, and whether it is in the dataset."""
    home = data.root if isinstance(data, FileTree) else data.root.parent
    if isinstance(data, FileTree):
        for folder in dict.fromkeys((os.path.normpath(text), _below(home, text))):
            if files := _in_folder(data.files, Path(folder).as_posix() + "/") if folder else {}:
                return files, True
    elif (home / text).is_dir():
        return read_tree(home / text).files, False
    if not Path(text).exists():
        raise UserError(
            f"there is no folder {printable(text)} of masks, neither in {printable(home)} nor in "
            f"the current directory; correct {option}",
            option=option,
        )
    return read_tree(Path(text)).files, False


def _below(home: Path, text: str) -> str:
    """Return the path of a folder of the current directory in `home`, or "" if it is outside."""
    inside = os.path.relpath(os.path.abspath(text), os.path.abspath(home))
    return "" if inside.startswith("..") or os.path.isabs(inside) else inside


def _in_folder(files: Mapping[str, Source], folder: str) -> Files:
    """Return the files of a folder by name; an archive may have a folder around all of it."""
    found = {n[len(folder) :]: one for n, one in files.items() if n.startswith(folder)}
    if not found and files:
        top = next(iter(files)).partition("/")[0] + "/"
        if all(name.startswith(top) for name in files):
            start = top + folder
            found = {n[len(start) :]: one for n, one in files.items() if n.startswith(start)}
    return found


def with_masks(splits: Mapping[str, SplitIndex], masks: Mapping[str, Files]) -> Masks:
    """Return the mask of each image: the file whose name and folders fit best.

    The mask of train/A/1.png is train/A/1.* in the folder of the masks, else A/1.*, else 1.*.

    Raises:
        UserError: Two masks, or two images of a domain, have the same name.
    """
    found: Masks = {}
    for domain, files in masks.items():
        option, by_name = f"data.{domain}.masks", _by_name(files, f"data.{domain}.masks")
        used: dict[Source, Source] = {}
        for source in _images(splits, domain):
            mask = next((by_name[key] for key in _keys(source) if key in by_name), None)
            if mask is None:
                continue  # reported by the check, with all images without a mask
            if used.setdefault(mask, source) != source:
                raise UserError(
                    f"{used[mask]} and {source} would have the same mask {mask}; repeat the "
                    "folders of the images in the folder of the masks",
                    option=option,
                    path=mask.path,
                )
            found[domain, source] = mask
    return found


def _by_name(files: Mapping[str, Source], option: str) -> Files:
    by_name: Files = {}
    for name, source in files.items():
        if (other := by_name.setdefault(stem(name), source)) != source:
            raise UserError(
                f"{other} and {source} are masks of the same name; remove one",
                option=option,
                path=source.path,
            )
    return by_name


def _images(splits: Mapping[str, SplitIndex], domain: str) -> Iterable[Source]:
    return dict.fromkeys(source for index in splits.values() for source in index.files(domain))


def _keys(source: Source) -> Iterable[str]:
    """Yield the name without its ending, with all of its folders, then with fewer."""
    parts = source.name.with_suffix("").parts if source.name.suffix else source.name.parts
    return ("/".join(parts[start:]) for start in range(len(parts)))
