"""config.json of a run: which run folder it belongs to, and where the dataset is after a move."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError

CONFIG = "config.json"
FROM_PYTHON = "(dataset of Python)"
"""`data.path` of a run whose dataset was passed to `viceversa.train`, not read from files."""
LOCATION = "data_location"  # key of config.json beside the sections
MARKS = ".lock", "checkpoints", "log.jsonl", "machine.json"  # one of them is in a run folder


def with_location(sections: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the contents of config.json: the settings, and the location of the dataset.

    The location is relative to the run folder and absolute, so that the dataset is found after
    either is moved.
    """
    if sections["data"]["path"] == FROM_PYTHON:
        return dict(sections)
    data = Path(sections["data"]["path"]).absolute()
    data = data.parent.resolve() / data.name if data.name not in ("", "..") else data.resolve()
    location = {"absolute": str(data)}
    if data.anchor == folder.resolve().anchor:
        location["relative"] = os.path.relpath(data, folder.resolve())
    return {**sections, LOCATION: location}


def config_of(recipe: str) -> Path | None:
    """Return the config.json if a recipe is that of a run, or a run folder; else None."""
    path = Path(recipe) / CONFIG if Path(recipe).is_dir() else Path(recipe)
    in_run = path.name == CONFIG and any((path.parent / name).exists() for name in MARKS)
    return path if in_run and path.is_file() else None


def candidates(table: Mapping[str, Any], folder: Path) -> list[Path]:
    """Return the possible locations of the dataset: relative, absolute, as in the settings."""
    location, data = table.get(LOCATION), table.get("data")
    given = data.get("path") if isinstance(data, Mapping) else None
    paths = []
    if isinstance(location, Mapping):
        relative, absolute = location.get("relative"), location.get("absolute")
        if isinstance(relative, str):
            paths.append(Path(os.path.normpath(folder.resolve() / relative)))
        if isinstance(absolute, str):
            paths.append(Path(absolute))
    return [*paths, Path(given)] if isinstance(given, str) and given else paths


def at_home(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the sections of a config.json for the run in its present folder.

    The path of the dataset changes only if it does not lead to the dataset any more.
    """
    sections = {name: dict(values) for name, values in table.items() if name != LOCATION}
    sections["train"] = {**sections.get("train", {}), "run": str(folder)}
    paths = candidates(table, folder)
    path = next((path for path in paths if path.exists()), None)
    if path is not None and not (paths[-1].exists() and path.samefile(paths[-1])):
        sections["data"] = {**sections.get("data", {}), "path": str(path)}
    return sections


def needs_dataset(run: Path) -> UserError:
    """Return the error of a run that cannot be resumed without the dataset of the user."""
    return UserError(
        f"{run} was trained on a dataset that was passed to viceversa.train, which config.json "
        f'cannot contain; resume it from Python: viceversa.train("{run}", data=DATASET)',
        option="data",
        path=run,
    )


def refuse_lost_data(recipe: str) -> None:
    """Raise UserError if a recipe is that of a run whose dataset cannot be found."""
    config = config_of(recipe)
    if config is None:
        return
    try:
        table = json.loads(config.read_text())
        paths = candidates(table, config.parent)
    except (OSError, ValueError, AttributeError):
        return
    if paths == [Path(FROM_PYTHON)]:
        raise needs_dataset(config.parent)
    if paths and not any(path.exists() for path in paths):
        tried = ", ".join(dict.fromkeys(str(path.absolute()) for path in paths))
        raise UserError(
            f"the dataset of the run {config.parent} does not exist; tried {tried}; give its path: "
            f"viceversa train {recipe} DATA",
            option="data.path",
            path=config,
        )
