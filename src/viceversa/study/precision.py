"""Choose one precision for all runs of a study with `train.precision auto`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from ..config.recipes import read_recipe
from ..config.run import with_precision
from ..config.speed import PrecisionName
from ..config.study import StudyConfig
from .folder import is_study, open_study


def with_one_precision(config: StudyConfig, root: Path, note: Callable[[str], None]) -> StudyConfig:
    """Replace `train.precision auto` in all variants by one precision, to keep them comparable.

    An existing study keeps its precision on any machine, also for added variants.

    Args:
        config: The settings of the study.
        root: The folder of the study.
        note: Called with a sentence about the chosen precision.

    Raises:
        UserError: A device is not available, or the study in the folder cannot be read.
    """
    auto = [name for name, one in config.variants.items() if one.train.precision == "auto"]
    if not auto:
        return config
    stored = _stored(root)
    if stored:
        others = [stored[name] for name in auto if name in stored] or list(stored.values())
        precisions = {name: stored.get(name, others[0]) for name in auto}
        reason = f"as in {root}"
    else:
        from ..runtime.precision import choose_precision, devices_named  # loads torch

        names = sorted({config.variants[name].train.device for name in auto})
        devices = [device for name in names for device in devices_named(name)]
        precision, why = choose_precision(devices)
        precisions, reason = dict.fromkeys(auto, precision), f"since {why}"
    chosen = ", ".join(sorted(set(precisions.values())))
    note(f"train.precision auto: {chosen} for the whole study, {reason}")
    variants = {
        name: with_precision(one, precisions[name]) if name in precisions else one
        for name, one in config.variants.items()
    }
    return dataclasses.replace(config, variants=variants)


def _stored(root: Path) -> dict[str, PrecisionName]:
    """Return the precisions of a study that exists, by variant; empty if there is none."""
    if not is_study(root):
        return {}
    found: dict[str, PrecisionName] = {}
    study = open_study(root)
    for run in study.runs:
        path = study.config(run)
        if run.variant not in found and path.is_file():
            found[run.variant] = read_recipe(str(path))["train"]["precision"]
    return found
