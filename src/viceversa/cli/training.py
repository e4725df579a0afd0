"""train, plan and demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..environment import process
from ..options import plan_settings, train_settings
from .app import app


@app.command
def train(
    recipe: Annotated[str, Parameter(show_default=False)],
    *words: Annotated[str, Parameter(allow_leading_hyphen=True)],
) -> None:
    """Train a translator, or go on training: viceversa train RECIPE [DATA] [--section.key value].

    RECIPE is a packaged recipe or preset (viceversa show lists them) or a TOML file, DATA the
    folder of images. The same command again goes on from the last checkpoint. `viceversa train
    RECIPE --help` shows every option there is with it, `viceversa show RECIPE` their values.
    """
    config = train_settings(recipe, words)
    if config is None:
        return
    from ..training.loop import train as run

    folder = run(config)
    if process():
        return
    print(f"done: the models are in {folder}; try: viceversa translate {folder}/"
        f"{'ab' if config.data.direction == 'ab' else 'ba'}.safetensors IMAGE -o OUT")  # fmt: skip


@app.command
def plan(
    recipe: Annotated[str, Parameter(show_default=False)],
    *words: Annotated[str, Parameter(allow_leading_hyphen=True)],
) -> None:
    """Estimate what a run costs: viceversa plan RECIPE [DATA] [--section.key value ...].

    Prints parameters, arithmetic, memory, disk space, the largest batch and crop that fit, and the
    time, from a few timed steps (--steps). Takes the options of `viceversa train` and writes no
    file; --json prints all values for programs.
    """
    settings = plan_settings(recipe, words)
    if settings is None:
        return
    options, config = settings
    from ..plan import make_plan
    from ..plan_text import plan_text
    from ..terminal import say, silent

    found = make_plan(config, options.steps, silent if options.json else say)
    say(json.dumps(found, indent=2) if options.json else plan_text(found))


@app.command
def demo(
    which: Literal["pix2pix", "cyclegan"] = "pix2pix",
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("runs"),
    seed: int = 0,
    epochs: int | None = None,
) -> None:
    """Train on one of the two data sets inside the package and show what comes of it.

    Parameters
    ----------
    which
        pix2pix colours line drawings; cyclegan turns the Earth from space into its relief map and
        back. Each takes minutes on two cores.
    out
        Where the run's folder goes.
    seed
        Seed of everything random.
    epochs
        Fewer or more epochs than the demo's recipe.
    """
    from ..demo import run_demo

    run_demo(which, out, seed, epochs)
