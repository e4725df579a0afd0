"""Datasets of files by name: the same tree as a folder, a .zip and a .tar."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path


def folder(root: Path, names: Iterable[str]) -> Path:
    root.mkdir(exist_ok=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def zipped(root: Path, names: Iterable[str]) -> Path:
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name.encode())
    return path


def tarred(root: Path, names: Iterable[str]) -> Path:
    path = root.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name.encode())
            archive.addfile(info, io.BytesIO(name.encode()))
    return path


Form = Callable[[Path, Iterable[str]], Path]
FORMS: list[Form] = [folder, zipped, tarred]
