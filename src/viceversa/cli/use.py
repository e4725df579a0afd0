"""translate and show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..config import read_recipe, recipes
from ..errors import UserError
from .app import app


@app.command
def translate(
    model: Path,
    *inputs: str,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    policy: Literal["image", "running", "paper"] = "image",
    half: Literal["left", "right"] | None = None,
    overwrite: bool = False,
    batch_size: int = 8,
    max_megapixels: int = 64,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Translate images: files, globs and folders, all of them, at their own size.

    Parameters
    ----------
    model
        A translator that training wrote: runs/NAME/ab.safetensors.
    inputs
        Images, globs in quotes, or folders (with their subfolders).
    out
        The folder for the results, which keep the names of their images.
    policy
        image: batch norm by each image's own statistics, no dropout; running: by those gathered
        in training; paper: as image, with dropout on (pix2pix sec. 3.4).
    half
        Of files with A and B side by side: which half to translate.
    overwrite
        Write over what lies in the folder for the results.
    batch_size
        Images of one size translated at once.
    max_megapixels
        The largest image that is decoded.
    device
        auto, or a torch device such as cpu or cuda.
    seed
        Seed of the dropout of policy paper.
    """
    if not inputs:
        raise UserError("name the images to translate: files, globs or folders")
    if batch_size < 1:
        raise UserError(f"--batch_size must be at least 1, not {batch_size}")
    if out.exists() and not out.is_dir():
        raise UserError(f"-o {out} is a file; name a folder for the results")
    from ..translate import Translator, expand, translate_files
    from ..translate import plan as places

    files = expand(inputs)
    translator = Translator.load(model, device, policy, seed, max_megapixels)
    pairs = places(files, out, translator.suffix, overwrite)
    failures, notes = translate_files(translator, pairs, batch_size, half)
    for note in notes:
        print(note)
    print(f"{len(pairs) - len(failures)} of {len(pairs)} images translated to {out}")
    if failures:
        raise UserError("; ".join(failures))


@app.command
def show(name: str = "") -> None:
    """Show what is in a model file or a recipe; without a name, list the recipes.

    Parameters
    ----------
    name
        A .safetensors file, a packaged recipe or preset, or a TOML file.
    """
    if not name:
        for recipe, text in recipes().items():
            print(f"{recipe:20} {text.splitlines()[0].lstrip('# ')}")
    elif name.endswith(".safetensors") or Path(name).is_dir():
        from ..checkpoint import read_header

        print(json.dumps(read_header(Path(name)), indent=2))
    else:
        from ..build import resolve

        for section, values in resolve(read_recipe(name)).sections.items():
            print(f"[{section}]")
            for key, value in values.items():
                print(f"{key} = {json.dumps(value)}")
            print("")
