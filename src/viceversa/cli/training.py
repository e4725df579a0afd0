"""train, plan and demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..config.command_line import plan_settings, train_settings
from ..environment import rank
from .app import app


@app.command
def train(
    recipe: Annotated[str, Parameter(show_default=False)],
    *words: Annotated[str, Parameter(allow_leading_hyphen=True)],
) -> None:
    """Train a model, or resume a run: viceversa train RECIPE [DATA] [--section.key value ...].

    RECIPE is a packaged recipe (viceversa show lists them) or a TOML file. DATA is the dataset. The
    same command again resumes the run from its newest checkpoint. `viceversa train RECIPE --help`
    lists all options of a recipe, `viceversa show RECIPE` its values.
    """
    config = train_settings(recipe, words)
    if config is None:
        return
    from ..training.loop import train as run

    folder = run(config)
    if rank():
        return
    model = folder / f"{config.data.direction}.safetensors"
    print(f"done: the models are in {folder}; try: viceversa translate {model} IMAGE -o OUT")


@app.command
def plan(
    recipe: Annotated[str, Parameter(show_default=False)],
    *words: Annotated[str, Parameter(allow_leading_hyphen=True)],
) -> None:
    """Estimate memory, disk space and time of a run: viceversa plan RECIPE [DATA] [...].

    Takes the options of `viceversa train`. Prints parameters, multiply-accumulate operations,
    memory, disk space, the largest batch and crop that fit, and the training time from a few timed
    steps (--steps). --json prints all values as JSON. Writes no file.
    """
    settings = plan_settings(recipe, words)
    if settings is None:
        return
    options, config = settings
    from ..plan import make_plan
    from ..plan.text import plan_text
    from ..terminal import say, silent

    values = make_plan(config, options.steps, silent if options.json else say)
    say(json.dumps(values, indent=2) if options.json else plan_text(values))


@app.command
def demo(
    which: Literal["pix2pix", "cyclegan"] = "pix2pix",
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("runs"),
    seed: int = 0,
    epochs: int | None = None,
) -> None:
    """Train a small model on images of the package, and compare its results with baselines.

    Parameters
    ----------
    which
        pix2pix colours line drawings; cyclegan translates satellite images to relief maps and back.
        Each takes minutes on two CPU cores.
    out
        Folder that will contain the run folder.
    seed
        Random seed.
    epochs
        Number of epochs; empty: that of the recipe.
    """
    from ..demo import run_demo

    run_demo(which, out, seed, epochs)
