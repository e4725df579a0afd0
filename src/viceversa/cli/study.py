"""study and ensemble."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from ..errors import UserError
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
    from ..config.study import study_settings

    config = study_settings(recipe, words)
    if config is None:
        return
    from ..study.folder import prepare
    from ..study.precision import with_one_precision
    from ..study.runner import run_study
    from ..terminal import say

    folder = Path(config.options.run or Path("studies") / Path(recipe).stem)
    config = with_one_precision(config, folder, say)
    made = prepare(config, folder, say, write=not config.options.dry_run)
    if config.options.dry_run:
        _list_runs(config, made)
        return
    run_study(config, made, say)
    first, *others = config.variants
    named = f"{folder} --baseline {first}" if others else f"{folder}"
    print(f"done: the runs are in {folder}/runs; try: viceversa compare {named}")


@command(
    ("ensemble studies/photos -o e.safetensors", "the generators of all folds and seeds"),
    ("ensemble studies/photos --fold 1 -o e.safetensors", "those of fold 1, to evaluate them"),
    ("ensemble runs/1/ab.safetensors runs/2/ab.safetensors -o e.safetensors", "of two runs"),
)
def ensemble(
    *models: Path,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    variant: str = "",
    fold: int = 0,
    direction: Literal["auto", "ab", "ba"] = "auto",
) -> None:
    """Write the generators of a study to one file; its output is the mean of theirs.

    Parameters
    ----------
    models
        A study, or two or more model files (or run folders with one generator) of the same
        architecture and domains.
    out
        The file, such as e.safetensors.
    variant
        Variant of the study, if it has several.
    fold
        Only the runs of this fold; 0: all. To measure an ensemble, choose one fold: members of
        other folds were trained on its test images.
    direction
        auto: that of the generators of the study, if they have one.
    """
    from ..checkpoint import read_header, translator_file
    from ..data.readonly import refuse_output_in_data, training_data
    from ..inference import write_ensemble
    from ..study.folder import is_study
    from ..study.members import generators

    if any(map(is_study, models)):
        if len(models) > 1:
            raise UserError("name one study, or model files")
        files = generators(models[0], variant, fold, direction)
    elif variant or fold or direction != "auto":
        raise UserError("--variant, --fold and --direction select runs of a study")
    else:
        files = [translator_file(model) for model in models]
    for file in files:
        refuse_output_in_data(out, training_data(read_header(file), file), "-o")
    write_ensemble(files, out)
    print(f"{out} is an ensemble of {len(files)} generators")
    print(f"try: viceversa translate {out} IMAGE -o OUT")


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
