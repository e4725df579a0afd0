"""Mask files of images: by name in a folder, or by a column of a manifest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ...errors import UserError
from ...images.masks import MaskFiles
from ...images.sources import Source, printable
from ..config import DataConfig
from .files import FileTree, read_tree
from .manifest import Manifest
from .pairing import Masks, SplitIndex

Files = dict[str, Source]


def separate_masks(
    data: FileTree | Manifest, config: DataConfig
) -> tuple[FileTree | Manifest, dict[str, MaskFiles]]:
    """Return the data without their mask files, and the mask files by domain.

    A relative `data.a.masks` is a folder in the dataset or, if there is none, in the current
    directory.

    Raises:
        UserError: There is no such folder.
    """
    masks: dict[str, MaskFiles] = {}
    inside: set[Source] = set()
    for domain in "ab":
        if folder := getattr(config, domain).masks:
            option = f"data.{domain}.masks"
            files, in_data = _mask_files(data, folder, option)
            masks[domain] = MaskFiles(folder, files, option)
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


def with_masks(splits: Mapping[str, SplitIndex], masks: Mapping[str, MaskFiles]) -> Masks:
    """Return the mask of each image that has one.

    Raises:
        UserError: Two images of a domain would have the same mask.
    """
    found: Masks = {}
    for domain, files in masks.items():
        used: dict[Source, Source] = {}
        for source in _images(splits, domain):
            mask = files.find(source)
            if mask is None:
                continue  # reported by the check, with all images without a mask
            if used.setdefault(mask, source) != source:
                raise UserError(
                    f"{used[mask]} and {source} would have the same mask {mask}; repeat the "
                    "folders of the images in the folder of the masks",
                    option=f"data.{domain}.masks",
                    path=mask.path,
                )
            found[domain, source] = mask
    return found


def _images(splits: Mapping[str, SplitIndex], domain: str) -> Iterable[Source]:
    return dict.fromkeys(source for index in splits.values() for source in index.files(domain))
