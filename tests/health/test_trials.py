"""Runs made to fail are found out within 300 steps, each in its way; of healthy ones is no word."""

from __future__ import annotations

from pathlib import Path

import pytest
from trials import PAIRS, TRIALS, VIEWS, Trial, healthy, run

from viceversa.health.rules import RULES

pytestmark = pytest.mark.slow
OTHERS = {"over-fitting", "vanishing gradients", "exploding gradients"}


@pytest.mark.parametrize("trial", TRIALS, ids=[trial.name for trial in TRIALS])
def test_a_run_made_to_fail_is_found_out_in_time(trial: Trial, tmp_path: Path) -> None:
    told = [one for one in run(trial, tmp_path) if one["name"] == trial.finding]
    assert told and told[0]["state"] == "warning" and told[0]["images"] <= trial.images
    assert told[0]["saw"] and told[0]["advice"] and told[0]["since"] < told[0]["images"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("recipe", [PAIRS, VIEWS])
def test_a_healthy_run_is_left_in_peace(recipe: str, seed: int, tmp_path: Path) -> None:
    assert run(healthy(recipe, seed), tmp_path) == []


def test_every_finding_has_a_run_that_was_made_for_it() -> None:
    assert {trial.finding for trial in TRIALS} == {rule.name for rule in RULES} | OTHERS
