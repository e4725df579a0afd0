"""Help of `train` and `plan`: the options that users change first, with the recipe's values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .options import Option

CHECK_HELP = "Check a dataset: decode every file once, and report contents, problems and advice."
CHECK_EXAMPLES = (
    ("check photos", "what the folder contains, and what is wrong with it"),
    ("check photos --recipe pix2pix", "for training with a recipe"),
    ("check photos --recipe pix2pix --preview inputs.png", "draw the inputs of the networks"),
)
EVALUATE_HELP = "Evaluate a model, or a folder of generated images: metrics, best and worst cases."
EVALUATE_EXAMPLES = (
    ("evaluate runs/photos", "the model of a run, on the test split of its data"),
    ("evaluate runs/photos/ab.safetensors other-photos -o results", "on other data"),
    ("evaluate runs/photos --metrics l1 lpips --split val", "chosen metrics"),
    ("evaluate generated real", "two folders of images, without a model"),
)
HELP_WORDS = "--help", "-h", "--help-all"
PANELS = {
    "train": "Training",
    "data": "Data",
    "method": "Method",
    "generator": "Generator",
    "discriminator": "Discriminator",
    "validate": "Validation",
    "speed": "Speed and memory",
}
COMMON = (  # in addition to all options of the method
    "train.run",
    "train.epochs",
    "train.batch_size",
    "train.lr",
    "train.seed",
    "train.device",
    "train.precision",
    "train.ema",
    "data.direction",
    "data.load_size",
    "data.crop_size",
    "data.flip",
    "data.a.channels",
    "data.b.channels",
    "generator.name",
    "generator.width",
    "discriminator.name",
    "validate.every",
)


def common_first(options: Sequence[Option], everything: bool) -> list[Option]:
    """Return the options that the help shows, with the titles of their panels.

    Args:
        options: All options, with the names of their sections as panels.
        everything: Whether to show all of them, in place of the common ones.
    """
    order = [*PANELS]
    own = [one for one in options if one.panel not in PANELS]
    known = [one for one in options if one.panel in PANELS]
    if not everything:
        known = [one for one in known if one.panel == "method" or one.key in COMMON]
        known.sort(key=lambda one: COMMON.index(one.key) if one.key in COMMON else 0)
    known.sort(key=lambda one: order.index(one.panel))
    return own + [dataclasses.replace(one, panel=PANELS[one.panel]) for one in known]


def recipe_help(command: str, recipe: str) -> str:
    """Return the text at the top of the help of `viceversa COMMAND RECIPE`."""
    start = f"{command} {recipe}"
    if command == "study":
        text = "Train and evaluate a set of runs, or resume it."
        examples = [
            (f"{start} photos --folds 5 --seeds 3", "five folds, three runs of each"),
            (f"{start} photos --over method.gan_loss=lsgan,hinge", "compare two losses"),
            (f"{start} photos --folds 5 --groups folder:1 --dry_run", "list the runs"),
        ]
    elif command == "plan":
        text = "Estimate memory, disk space and time of a run, without writing any file."
        examples = [
            (f"{start} photos", "the costs of a run on this machine"),
            (f"{start} photos --train.batch_size 4 --steps 0", "without timing any step"),
        ]
    else:
        text = "Train a model, or resume the run in the run folder."
        examples = [
            (f"{start} photos", "train on the folder photos; the same again resumes"),
            (f"{start} photos --train.run runs/2 --train.epochs 50", "another run folder"),
            (f"{start} photos --data.load_size 542 --data.crop_size 512", "larger images"),
        ]
    more = (
        f"All options: viceversa {start} --help-all. As a file to edit: viceversa init FILE "
        f"--recipe {recipe}"
    )
    return f"{text}\n\n{example_lines(examples)}\n\n{more}"


def example_lines(examples: Sequence[tuple[str, str]]) -> str:
    """Return command lines, given without `viceversa`, each under a comment with what it does.

    The heading is not `Examples:`, a section that the parser of docstrings would remove.
    """
    lines = [f"  # {meaning}\n  viceversa {words}" for words, meaning in examples]
    return "\n".join(["For example:", *lines])
