"""study."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..config.study import study_settings
from .app import command
from .training import RECIPE

if TYPE_CHECKING:
    from ..config.study import StudyConfig
    from ..study.folder import StudyFolder


@command(
    ("study pix2pix photos --folds 5 --seeds 3", "five folds, three runs of each"),
    ("study pix2pix photos --over method.gan_loss=lsgan,hinge", "compare two losses"),
    ("study pix2pix --help", "all options of a study"),
)
def study(
    recipe: Annotated[str, Parameter(show_default=False, help=RECIPE)],
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
) -> None:
    """Train and evaluate a set of runs: folds by group, seeds and variants.

    The words are RECIPE [DATA] [--option value ...], with the options of viceversa train for all
    runs. RECIPE may be a recipe file with a section [study]. The same command again resumes the
    study.
    """
    config = study_settings(recipe, words)
    if config is None:
        return
    from ..study.folder import prepare
    from ..study.runner import run_study
    from ..terminal import say

    folder = Path(config.options.run or Path("studies") / Path(recipe).stem)
    made = prepare(config, folder, say, write=not config.options.dry_run)
    if config.options.dry_run:
        _list_runs(config, made)
        return
    run_study(config, made, say)
    print(f"done: the runs are in {folder}/runs; try: viceversa compare {folder}")


def _list_runs(config: StudyConfig, study: StudyFolder) -> None:
    """Print the runs with their state, and an estimate of the time of each variant."""
    from ..plan import make_plan
    from ..terminal import silent

    for run in study.runs:
        print(f"{run.name}: {study.state(run)}")
    count = len(study.runs) // len(config.variants)
    for name, variant in config.variants.items():
        train = dataclasses.replace(variant.train, run=str(study.root))
        plan = make_plan(dataclasses.replace(variant, train=train), 4, silent)
        if plan["time"] and plan["time"]["all"]:
            folds = config.options.folds
            minutes = plan["time"]["all"] / 60 * ((folds - 1) / folds if folds else 1)
            print(
                f"{name}: {count} runs of about {minutes:.2g} minutes (steps only) on "
                f"{plan['device']}"
            )
