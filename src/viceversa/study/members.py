"""The generators of a study, for an ensemble."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import UserError
from .folder import StudyFolder, StudyRun, open_study


def generators(root: Path, variant: str, fold: int, direction: str) -> list[Path]:
    """Return the evaluated generator of each finished run: the best one, else the last.

    Args:
        root: The folder of the study.
        variant: The variant; may be empty if there is one.
        fold: The fold; 0: all.
        direction: `ab`, `ba`, or `auto`: the only one.

    Raises:
        UserError: A run is not finished, or an argument selects nothing or is missing.
    """
    study = open_study(root)
    variants = list(dict.fromkeys(run.variant for run in study.runs))
    if variant not in (variants if len(variants) > 1 else ["", *variants]):
        message = f"--variant selects one of {', '.join(variants)}, not {variant!r}"
        if not variant:
            choices = " or ".join(f"--variant {one}" for one in variants)
            message = f"the study {root} has several variants; choose one: {choices}"
        raise UserError(message, option="--variant")
    runs = [run for run in study.runs if variant in ("", run.variant) and fold in (0, run.fold)]
    if not runs:
        raise UserError(f"--fold {fold} is no fold of the study {root}", option="--fold")
    if missing := [run for run in runs if study.state(run) != "finished"]:
        raise UserError(
            f"{len(missing)} of {len(runs)} runs are not finished, the first is "
            f"{missing[0].name}; run the study again",
            path=root,
        )
    return [_generator(study, run, direction) for run in runs]


def _generator(study: StudyFolder, run: StudyRun, direction: str) -> Path:
    marker = json.loads(study.marker(run).read_text("utf-8"))
    folder = study.folder(run) / "best" if marker["model"] == "best" else study.folder(run)
    wanted = ("ab", "ba") if direction == "auto" else (direction,)
    found = [folder / f"{way}.safetensors" for way in wanted]
    found = [path for path in found if path.is_file()]
    if not found:
        raise UserError(
            f"{folder} has no generator {' or '.join(wanted)}", option="--direction", path=folder
        )
    if len(found) > 1:
        raise UserError(
            f"{folder} has generators of both directions; choose --direction ab or ba",
            option="--direction",
        )
    return found[0]
