"""The command init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..config.recipes import read_recipe
from ..errors import UserError
from ..files import write_bytes
from .app import command


@command(
    ("init my.toml --recipe pix2pix", "a file with every option of pix2pix, to edit"),
    ("init my.toml --recipe runs/photos", "the settings of a run"),
)
def init(
    file: Path,
    *,
    recipe: str = "pix2pix",
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write a recipe with all options and their explanation, to edit.

    Parameters
    ----------
    file
        The TOML file to write.
    recipe
        The recipe whose values it contains: a packaged one, a TOML file or a run folder.
    overwrite
        Replace an existing file.
    """
    if file.suffix.lower() != ".toml":
        raise UserError(f"{file} is not a recipe; its name must end in .toml", path=file)
    if file.exists() and not overwrite:
        raise UserError(
            f"{file} is there already; choose another name, or add --overwrite", path=file
        )
    from ..config.run import resolve
    from ..config.toml import commented_recipe

    sections = read_recipe(recipe)
    sections.get("train", {}).pop("run", None)  # it would resume the run that it is taken from
    write_bytes(file, commented_recipe(recipe, resolve(sections)).encode())
    print(f"written: {file}; edit it, then: viceversa train {file} DATA")
