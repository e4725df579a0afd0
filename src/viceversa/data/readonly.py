"""Data folders are never written to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError


def refuse_output_in_data(path: Path, data: Path | None, option: str) -> None:
    """Refuse an output inside a data set, which the next training would read.

    Args:
        path: The file or folder to write.
        data: A folder, or an archive or manifest, which stands for its folder. None is no data.
        option: The option that names `path`.

    Raises:
        UserError: `path` lies in the folder, by whatever name.
    """
    folder = None if data is None else _folder(data)
    if folder is None or not _is_inside(path, folder):
        return
    if option != "train.run":
        raise UserError(
            f"{option} {path} lies in the data folder {folder}; choose another place",
            option=option,
            path=path,
        )
    outside = os.path.relpath(_writable_beside(folder) / "runs" / path.name)
    raise UserError(
        f"{option} {path} lies in the data folder {folder}; choose another place: "
        f"--train.run {outside}",
        option=option,
        path=path,
    )


def training_data(header: Mapping[str, Any], model: Path) -> Path | None:
    """The data set that a model was trained on, as its header names it, if it is there.

    A relative path started at the folder in which the run's own path did.
    """
    trained = header.get("trained")
    sections = trained if isinstance(trained, Mapping) else {}
    path, run = _text(sections, "data", "path"), _text(sections, "train", "run")
    if not path:
        return None
    if Path(path).is_absolute():
        return Path(path) if Path(path).exists() else None
    model = model.absolute().resolve()
    folders = [one for one in (model, *model.parents[:2]) if one.is_dir()]
    for start in (Path.cwd(), *model.parents):
        if run and any(_same(start / run, folder) for folder in folders):
            return start / path if (start / path).exists() else None
    # A run that was moved; "." then would be anything.
    moved = Path(path).exists() and Path(path).absolute().name not in ("", "..") and path != "."
    return Path(path) if moved else None


def _folder(data: Path) -> Path | None:
    """The folder of a data set. That of an archive or a manifest in or above the current directory
    holds everything else as well, and is not one."""
    if data.is_dir():
        return data
    if not data.is_file() or _is_inside(Path.cwd(), data.parent):
        return None
    return data.parent


def _is_inside(path: Path, folder: Path) -> bool:
    """By device and inode: a folder may have many names."""
    path = path.absolute().resolve()
    return any(_same(one, folder) for one in (path, *path.parents))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _writable_beside(folder: Path) -> Path:
    """A folder outside of the data that can be written to."""

    def places() -> Iterator[Path]:
        yield folder.absolute().resolve().parent
        yield Path(tempfile.gettempdir())

    return next(
        (one for one in places() if os.access(one, os.W_OK) and not _is_inside(one, folder)),
        folder.absolute().resolve().parent,
    )


def _text(sections: Mapping[str, Any], section: str, key: str) -> str:
    values = sections.get(section)
    value = values.get(key) if isinstance(values, Mapping) else None
    return value if isinstance(value, str) else ""
