"""train, plan and demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..config.command_line import plan_settings, train_settings
from ..environment import rank
from .app import command

RECIPE = "A packaged recipe (viceversa show lists them) or a TOML file."


@command(
    ("train pix2pix photos", "train on the folder photos; the same again resumes the run"),
    ("train cyclegan photos --train.run runs/2 --train.epochs 50", "options after the data"),
    ("train pix2pix --help", "options of a recipe, with its values"),
)
def train(
    recipe: Annotated[str, Parameter(show_default=False, help=RECIPE)],
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
) -> None:
    """Train a model, or resume a run.

    The words are RECIPE [DATA] [--section.key value ...]. DATA is the dataset: a folder, a .zip or
    .tar archive, or a .csv or .jsonl manifest. The same command again resumes the run from its
    newest checkpoint.
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


@command(
    ("plan pix2pix photos", "memory, disk space and time of a run on this machine"),
    ("plan pix2pix --train.batch_size 4 --steps 0", "without data, and without timing any step"),
)
def plan(
    recipe: Annotated[str, Parameter(show_default=False, help=RECIPE)],
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
) -> None:
    """Estimate memory, disk space and time of a run.

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


@command(
    ("demo", "colour line drawings with pix2pix"),
    ("demo cyclegan", "satellite images to relief maps and back"),
)
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
