"""User modules that add methods, networks, objectives: `--import MODULE` on the command line.

Recipes, config.json and model files may list the modules that they need (key `imports`). No module
listed in a file is imported: the file is refused until the command line names the module.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError

OPTION, KEY = "--import", "imports"
imported: list[str] = []  # the modules of this process, as the command line names them


def take_imports(words: Sequence[str]) -> list[str]:
    """Import the modules that a command line names, and return its other words.

    Raises UserError if a module is missing or fails.
    """
    rest: list[str] = []
    remaining = iter(words)
    for word in remaining:
        option, equals, name = word.partition("=")
        if option != OPTION:
            rest.append(word)
            continue
        name = name if equals else next(remaining, "")
        if not name or name.startswith("-"):
            raise UserError(f"{OPTION} needs a module: a .py file or a dotted name", option=OPTION)
        import_module(name)
    return rest


def import_module(name: str) -> None:
    """Import a module by its path (`cut.py`) or dotted name, once. Raises UserError if it fails."""
    if any(_same(name, other) for other in imported):
        return
    try:
        if _is_path(name):
            spec = importlib.util.spec_from_file_location(Path(name).stem, name)
            if spec is None or spec.loader is None or not Path(name).is_file():
                raise UserError(f"{OPTION} {name}: there is no such file", option=OPTION, path=name)
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses look their module up there
            spec.loader.exec_module(module)
        else:
            if os.getcwd() not in sys.path:
                sys.path.insert(0, os.getcwd())
            importlib.import_module(name)
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        sys.modules.pop(Path(name).stem if _is_path(name) else name, None)
        raise UserError(f"{OPTION} {name} failed: {_where(error)}", option=OPTION) from error
    imported.append(name)


def require(table: Mapping[str, Any], source: object) -> None:
    """Raise UserError if a file names a module that the command line does not import."""
    names = table.get(KEY, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{source}: {KEY} must be a list of module names")
    missing = [name for name in names if not any(_same(name, other) for other in imported)]
    if missing:
        options = " ".join(f"{OPTION} {name}" for name in missing)
        raise UserError(
            f"{source} needs modules that are not imported; if you trust them, add {options}",
            option=OPTION,
        )


def named() -> dict[str, list[str]]:
    """Return the entry of a file about imported modules; empty if there are none."""
    return {KEY: list(imported)} if imported else {}


def _is_path(name: str) -> bool:
    return name.endswith(".py") or os.sep in name


def _same(name: str, other: str) -> bool:
    """Whether two names mean the same module; files are compared by name, without the folder."""
    return (Path(name).stem if _is_path(name) else name) == (
        Path(other).stem if _is_path(other) else other
    )


def _where(error: BaseException) -> str:
    """An error in one line, with its position in the user's file."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
