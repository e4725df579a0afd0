"""config.json of a run: which run it means, and where its data are after a move."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError

CONFIG = "config.json"
LOCATION = "data_location"  # key of config.json beside the sections
MARKS = ".lock", "checkpoints", "log.jsonl", "machine.json"  # what a run folder contains


def with_location(sections: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The settings of a run as config.json has them: with the location of the data, relative to the
    run folder and absolute, so that it is found after either is moved."""
    data = Path(sections["data"]["path"]).absolute()
    data = data.parent.resolve() / data.name if data.name not in ("", "..") else data.resolve()
    location = {"absolute": str(data)}
    if data.anchor == folder.resolve().anchor:
        location["relative"] = os.path.relpath(data, folder.resolve())
    return {**sections, LOCATION: location}


def config_of(recipe: str) -> Path | None:
    """The config.json of the run that a recipe names: the file itself, or its run folder."""
    path = Path(recipe) / CONFIG if Path(recipe).is_dir() else Path(recipe)
    in_run = path.name == CONFIG and any((path.parent / name).exists() for name in MARKS)
    return path if in_run and path.is_file() else None


def candidates(table: Mapping[str, Any], folder: Path) -> list[Path]:
    """Where the data of a run may be: relative to its folder, absolute, as given."""
    location, data = table.get(LOCATION), table.get("data")
    given = data.get("path") if isinstance(data, Mapping) else None
    found = []
    if isinstance(location, Mapping):
        relative, absolute = location.get("relative"), location.get("absolute")
        if isinstance(relative, str):
            found.append(Path(os.path.normpath(folder.resolve() / relative)))
        if isinstance(absolute, str):
            found.append(Path(absolute))
    return [*found, Path(given)] if isinstance(given, str) and given else found


def at_home(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The settings in a run's config.json, for the run in that folder and the data that are there.

    The path of the data stays as it was given where it leads to the same data.
    """
    sections = {name: dict(values) for name, values in table.items() if name != LOCATION}
    sections["train"] = {**sections.get("train", {}), "run": str(folder)}
    places = candidates(table, folder)
    found = next((place for place in places if place.exists()), None)
    if found is not None and not (places[-1].exists() and found.samefile(places[-1])):
        sections["data"] = {**sections.get("data", {}), "path": str(found)}
    return sections


def refuse_lost_data(recipe: str) -> None:
    """Raises UserError if a recipe is the config.json of a run whose data are nowhere."""
    path = config_of(recipe)
    if path is None:
        return
    try:
        places = candidates(json.loads(path.read_text()), path.parent)
    except (OSError, ValueError, AttributeError):
        return
    if places and not any(place.exists() for place in places):
        tried = ", ".join(dict.fromkeys(str(place.absolute()) for place in places))
        raise UserError(
            f"the data of the run {path.parent} are not there; tried {tried}; name them: viceversa "
            f"train {recipe} DATA", option="data.path", path=path,
        )  # fmt: skip
