"""Recipes: settings in TOML files as sections of plain values, `{"train": {"epochs": 50}}`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..fields import did_you_mean
from ..files import is_utf16
from .compatibility import current_sections, refuse_old_names, without_removed
from .extensions import KEY, require
from .run_folder import LOCATION, at_home, config_of

SECTIONS = ("method", "generator", "discriminator", "data", "train", "validate", "speed")
MAX_DEPTH = 16  # levels of tables and lists in a recipe
MAX_BASES = 50  # recipes that are based on each other
MAX_BYTES = 10**6
STUDY = "study"  # section of a recipe with the settings of a study
NAMED = ("method", "generator", "discriminator")  # sections with an option `name`

Sections = dict[str, dict[str, Any]]


def recipes() -> dict[str, str]:
    """Return the packaged recipes: name -> TOML text."""
    folder = resources.files("viceversa") / "recipes"
    files = [f for f in folder.iterdir() if f.name.endswith(".toml")]
    files.sort(key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): f.read_text("utf-8") for f in files}


def read_recipe(name: str) -> Sections:
    """Read a packaged recipe, a TOML file or the config.json of a run.

    Args:
        name: Name of a packaged recipe, or path of a file. A run folder or its config.json
            also sets train.run to that folder, except as the base of another recipe.

    Returns:
        The sections as nested dicts of plain values, on top of those of the base
        (`base = "NAME"`).

    Raises:
        UserError: There is no such recipe, or the file is not a recipe.
    """
    return _read(name, ())


def _read(name: str, derived: tuple[str | Path, ...]) -> Sections:
    """Read a recipe; `derived`: the names and resolved paths of recipes that are based on it."""
    packaged = recipes()
    of_run = None if name in packaged else config_of(name)
    name = str(of_run or name)
    itself: str | Path = name
    if name in packaged:
        text, source = packaged[name], f"recipe {name}"
    elif Path(name).is_dir():
        raise UserError(
            f"{name} is a folder; the recipe comes first: viceversa train RECIPE {name}, with one "
            f"of {', '.join(packaged)}",
            path=name,
        )
    elif Path(name).is_file():
        text, source, itself = _text(Path(name)), name, Path(name).resolve()
    else:
        raise UserError(
            f"there is no recipe {name!r}, and no such file{did_you_mean(name, packaged)}; "
            f"the recipes are {', '.join(packaged)}"
        )
    if itself in derived:
        raise UserError(f"{source}: the recipe is based on itself", path=name)
    if len(derived) > MAX_BASES:
        raise UserError(f"{source}: more than {MAX_BASES} recipes are based on each other")
    table = _parsed(text, source)
    if source.endswith(".json"):
        table = current_sections(table)
    else:
        refuse_old_names(table, source)
    table = without_removed(table)
    require(table, source)
    for key in (KEY, STUDY):  # a study file is the recipe of its runs
        table.pop(key, None)
    base = table.pop("base", None)
    for section, values in table.items():
        if section == LOCATION and isinstance(itself, Path) and itself.suffix == ".json":
            continue
        if section not in SECTIONS or not isinstance(values, dict):
            raise UserError(
                f"{source}: unknown section {section!r}{did_you_mean(section, SECTIONS)}; "
                f"the sections are {', '.join(SECTIONS)}",
                path=name,
            )
    if of_run:
        table = at_home(table, of_run.parent)
        if derived:
            del table["train"]["run"]
    table.pop(LOCATION, None)
    if base is None:
        return merge({}, table)
    beside = Path(name).parent / str(base)
    base = str(beside) if str(base) not in packaged and beside.is_file() else str(base)
    return merge(_read(base, (itself, *derived)), table)


def read_table(path: Path) -> dict[str, Any]:
    """Return the tables of a recipe file as they are written. Raises UserError."""
    return _parsed(_text(path), str(path))


def _text(path: Path) -> str:
    """Read a file as text. Raises UserError for a file that cannot be a recipe."""
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is not a recipe: it is larger than 1 MB", path=path)
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        if is_utf16(path):
            raise UserError(
                f"{path} is not a recipe: it is a UTF-16 text; save it as UTF-8", path=path
            ) from None
        raise UserError(f"{path} is not a recipe: it is not a UTF-8 text", path=path) from None


def _parsed(text: str, source: str) -> dict[str, Any]:
    """Parse TOML, or JSON (config.json of a run)."""
    too_deep = UserError(f"{source} is not a recipe: its tables are nested too deeply", path=source)
    try:
        table = (
            json.loads(text)
            if source.endswith(".json")
            else tomllib.loads(text, parse_float=_number)
        )
    except ValueError as error:
        kind = "JSON" if source.endswith(".json") else "TOML"
        raise UserError(f"{source} is not valid {kind}: {error}", path=source) from None
    except RecursionError:
        raise too_deep from None
    if _deeper_than(MAX_DEPTH, table):
        raise too_deep
    if not isinstance(table, dict):
        raise UserError(f"{source} is not a recipe: it contains no sections", path=source)
    return table


def _deeper_than(levels: int, value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper_than(levels - 1, one) for one in inner)


def _number(text: str) -> float | str:
    """A TOML float; nan as text, because options that allow it (no-data values) take text."""
    return "nan" if text.lstrip("+-") == "nan" else float(text)


def merge(
    base: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Mapping[str, Any]]
) -> Sections:
    """Return `base` with changes. Another method or network drops the settings of the old one."""
    merged: Sections = {section: dict(values) for section, values in base.items()}
    for section, values in changes.items():
        old = merged.get(section, {})
        renamed = section in NAMED and values.get("name", old.get("name")) != old.get("name")
        merged[section] = dict(values) if renamed else _deep(old, values)
    return merged


def _deep(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Tables with the values of `new` on top of `old`, recursively."""
    both = {**old, **new}
    for key in old.keys() & new.keys():
        if isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            both[key] = _deep(old[key], new[key])
    return both


def changes(before: Sections, now: Sections) -> list[str]:
    """Return the settings that differ, each as `train.lr 0.0002 -> 0.0001`."""
    old, new = (dict(flat(as_stored(sections))) for sections in (before, now))
    return [
        f"{key} {old.get(key)!r} -> {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested tables, each as (`train.lr`, value)."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def as_stored(value: Any) -> Any:
    """Return a value as it is read from JSON: with lists instead of tuples."""
    if isinstance(value, dict):
        return {key: as_stored(inner) for key, inner in value.items()}
    return [as_stored(inner) for inner in value] if isinstance(value, list | tuple) else value
