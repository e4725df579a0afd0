"""Each problem of training is detected within 300 steps of a run that has it; others have none."""

from __future__ import annotations

from pathlib import Path

import pytest
from trials import PAIRS, TRIALS, VIEWS, Trial, control_trial, run_trial, with_seed

from viceversa.training.diagnostics.rules import RULES

pytestmark = pytest.mark.slow
# `make soak` runs the trials. In `make test`, every rule has tests on values by hand
# (test_detectors.py).
OTHERS = {"over-fitting", "vanishing gradients", "exploding gradients"}


@pytest.mark.soak
@pytest.mark.parametrize("trial", TRIALS, ids=[trial.name for trial in TRIALS])
def test_a_problem_is_detected_in_time(trial: Trial, tmp_path: Path) -> None:
    """Tries up to three seeds: failing training is chaotic, and rounding, which differs between
    processors, decides whether a run of a few hundred steps fails."""
    for seed in range(3):
        found = run_trial(with_seed(trial, seed), tmp_path / str(seed))
        matches = [one for one in found if one["name"] == trial.finding]
        if matches:
            break
    assert matches and matches[0]["state"] == "warning" and matches[0]["images"] <= trial.images
    assert (
        matches[0]["text"] and matches[0]["advice"] and matches[0]["since"] < matches[0]["images"]
    )


@pytest.mark.soak
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("recipe", [PAIRS, VIEWS])
def test_no_problem_is_detected_in_a_run_without_one(
    recipe: str, seed: int, tmp_path: Path
) -> None:
    assert run_trial(control_trial(recipe, seed), tmp_path) == []


def test_every_problem_has_a_trial() -> None:
    assert {trial.finding for trial in TRIALS} == {rule.name for rule in RULES} | OTHERS
