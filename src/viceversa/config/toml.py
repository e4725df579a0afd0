"""Recipes as TOML text with a comment for each option."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from .help import COMMON, PANELS
from .recipes import NAMED, SECTIONS

WIDTH = 88  # of comments


def toml_value(value: Any) -> str:
    """Return a plain value in the notation of TOML."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(str(key))} = {toml_value(v)}" for key, v in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value)


def commented_recipe(recipe: str, config: Any) -> str:
    """Return a recipe with every option, its help and its value, as TOML.

    Options that keep the default are commented out, except for those that users change first:
    the common ones, and those of the method.

    Args:
        recipe: Name of the recipe.
        config: Its settings, a RunConfig.
    """
    from .command_line import run_options

    defaults = {option.key: option.default for option in run_options(_defaults(config))}
    lines = [
        f"# Settings of the recipe {recipe}. Use them: viceversa train THIS_FILE DATA",
        "# Lines that are commented out are defaults.",
    ]
    table = ""
    options = run_options(config)
    # A nested table has to follow the other options of its section.
    options.sort(key=lambda one: (SECTIONS.index(one.key.split(".")[0]), one.key.count(".")))
    for option in options:
        section, _, key = option.key.rpartition(".")
        if section != table:
            title = PANELS.get(section)
            lines += ["", *([f"# {title}"] if title else []), f"[{section}]"]
            table = section
        lines += textwrap.wrap(option.help, WIDTH, initial_indent="# ", subsequent_indent="# ")
        changed = option.default != defaults[option.key] or (section in NAMED and key == "name")
        active = changed or section == "method" or option.key in COMMON
        lines.append(f"{'' if active else '# '}{key} = {toml_value(option.default)}")
    return "\n".join(lines) + "\n"


def _defaults(config: Any) -> Any:
    """Return the settings of the same method and networks without a recipe."""
    from .run import resolve

    return resolve({section: {"name": config.name(section)} for section in NAMED})
