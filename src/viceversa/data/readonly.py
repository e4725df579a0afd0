"""Prevent writing into the folder of a dataset."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..fields import nested


def refuse_output_in_data(path: Path, data: Path | None, option: str) -> None:
    """Raise UserError if an output is inside the folder of a dataset, which training would read.

    Args:
        path: The file or folder to write; symbolic links are followed.
        data: A folder, or an archive or manifest, whose folder counts; None: no data.
        option: The option that names `path`.
    """
    folder = None if data is None else _folder(data)
    if folder is None or not _is_inside(path, folder):
        return
    text = f"{option} {path} is inside the data folder {folder}; choose another folder"
    if option == "train.run":
        text += f": --train.run {os.path.relpath(_writable_beside(folder) / 'runs' / path.name)}"
    raise UserError(text, option=option, path=path)


def training_data(header: Mapping[str, Any], model: Path) -> Path | None:
    """Return the dataset that a model was trained on, by its header, or None if it is not found.

    A relative path is relative to the same folder as the path of the run.
    """
    path = nested(header, "trained", "data").get("path")
    run = nested(header, "trained", "train").get("run")
    if not isinstance(path, str) or not path:
        return None
    if Path(path).is_absolute():
        return Path(path) if Path(path).exists() else None
    model = model.absolute().resolve()
    folders = [one for one in (model, *model.parents[:2]) if one.is_dir()]
    for start in (Path.cwd(), *model.parents):
        if isinstance(run, str) and run and any(_same(start / run, folder) for folder in folders):
            return start / path if (start / path).exists() else None
    # The run was moved: a path such as "." would now be any folder.
    moved = Path(path).exists() and Path(path).absolute().name not in ("", "..") and path != "."
    return Path(path) if moved else None


def _folder(data: Path) -> Path | None:
    """Return the folder of a dataset. For an archive or manifest, the folder does not count if it
    contains the current directory: other files are stored there as well."""
    if data.is_dir():
        return data
    if not data.is_file() or _is_inside(Path.cwd(), data.parent):
        return None
    return data.parent


def _is_inside(path: Path, folder: Path) -> bool:
    """Compare by device and inode: a folder may have several paths."""
    path = path.absolute().resolve()
    return any(_same(one, folder) for one in (path, *path.parents))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _writable_beside(folder: Path) -> Path:
    """Return a folder outside of the data that can be written to."""
    parent, temporary = folder.resolve().parent, Path(tempfile.gettempdir())
    if os.access(parent, os.W_OK) or not os.access(temporary, os.W_OK):
        return parent
    return parent if _is_inside(temporary, folder) else temporary
