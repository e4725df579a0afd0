"""Diagnostics report a lasting problem once, with numbers, and report when it is over."""

from __future__ import annotations

import json

import pytest
import torch

from viceversa.training.diagnostics import Diagnostics, Finding, Translations, signs
from viceversa.training.diagnostics.rules import RULES

NO_PROBLEM = {
    "spread_source": 0.5,
    "spread_generated": 0.4,
    "spread_target": 0.5,
    "change": 0.4,
    "distance": 0.5,
    "tones": 0.3,
    "tones_target": 0.8,
    "edges": 0.6,
    "pattern_generated": 1.2,
    "pattern_target": 1.0,
    "pattern_depth": 0.001,
    "generated_high": 0.5,
    "real_low": -0.5,
    "recognized": 0.7,
}
PROBLEMS = {
    "saturated discriminator": {"generated_high": -9.0, "real_low": 9.0},
    "collapse": {"spread_generated": 0.001},
    "identity": {"change": 0.001, "recognized": 1.0},
    "inversion": {"tones": -0.9, "tones_target": -0.9},
    "checkerboard": {"pattern_generated": 50.0, "pattern_depth": 0.2},
}


def diagnose(
    diagnostics: Diagnostics, times: int, signs_of_problem: dict[str, float], start: int = 100
) -> list[Finding]:
    found = []
    for number in range(times):
        found += diagnostics.translations(start + 100 * number, "ab", NO_PROBLEM | signs_of_problem)
    return found


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_is_reported_once_and_within_300_images(name: str, paired: bool) -> None:
    diagnostics = Diagnostics("bce", paired)
    found = diagnose(diagnostics, 3, PROBLEMS[name])
    assert [one.name for one in found] == [name] and found[0].state == "warning"
    assert found[0].since == 100 and found[0].text.startswith("ab: ") and found[0].advice
    assert diagnose(diagnostics, 5, PROBLEMS[name], 400) == []
    over = diagnose(diagnostics, 4, {}, 900)
    assert [(one.name, one.state) for one in over] == [(name, "resolved")]


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_that_does_not_last_is_not_reported(name: str) -> None:
    diagnostics = Diagnostics("bce", paired=True)
    for start in range(100, 2000, 300):
        assert diagnose(diagnostics, 2, PROBLEMS[name], start) == []
        assert diagnose(diagnostics, 1, {}, start + 200) == []


def test_a_run_without_problems_is_not_reported() -> None:
    scores = {"generated_high": 0.6, "real_low": 0.4}
    for paired in (True, False):
        assert diagnose(Diagnostics("lsgan", paired), 50, scores) == []


def test_every_rule_is_tested() -> None:
    assert {rule.name for rule in RULES} == set(PROBLEMS)


def test_a_resumed_run_reports_the_same() -> None:
    uninterrupted, first = Diagnostics("bce", True), Diagnostics("bce", True)
    diagnose(first, 2, PROBLEMS["collapse"])
    second = Diagnostics("bce", True, state=json.loads(json.dumps(first.state())))
    assert diagnose(second, 1, PROBLEMS["collapse"], 300) == diagnose(
        uninterrupted, 3, PROBLEMS["collapse"]
    )
    assert (
        diagnose(Diagnostics("bce", True), 1, PROBLEMS["collapse"], 300) == []
    )  # without the state


@pytest.mark.parametrize(
    ("norm", "name"),
    [
        (1e-8, "vanishing gradients"),
        (1e6, "exploding gradients"),
    ],
)
def test_vanishing_and_exploding_gradients(norm: float, name: str) -> None:
    diagnostics = Diagnostics("bce", True)
    for images in range(50, 300, 50):
        assert diagnostics.training(images, {"generator": 1.0}) == []
    found = [
        one for i in range(300, 600, 50) for one in diagnostics.training(i, {"generator": norm})
    ]
    assert [one.name for one in found] == [name] and "1" in found[0].text


def test_over_fitting_is_a_growing_gap() -> None:
    diagnostics, control = Diagnostics("bce", True), Diagnostics("bce", True)
    found = []
    for number in range(8):
        train, held_out = 0.3 * 0.8**number, 0.3 + 0.02 * number
        found += diagnostics.validated(100 * number, {"l1": train}, {"l1": held_out})
        # the control: a constant ratio while both errors decrease
        assert control.validated(100 * number, {"l1": train}, {"l1": 2 * train}) == []
    assert [one.name for one in found] == ["over-fitting"]


@pytest.mark.parametrize(
    ("paired", "worse", "gap", "expected"),
    [
        (True, 1.03, 1.15, True),  # held-out error increased, and clearly above the training error
        (True, 1.01, 1.15, False),  # increased too little
        (True, 1.01, 1.60, True),  # increased little, but far above the training error
        (True, 0.99, 1.60, False),  # still decreasing
        (True, 1.03, 1.05, False),  # hardly above the training error
        (False, 1.03, 1.30, False),  # cycles are memorized before that harms: needs a larger gap
        (False, 1.03, 1.60, True),
    ],
)
def test_thresholds_of_over_fitting(paired: bool, worse: float, gap: float, expected: bool) -> None:
    diagnostics, held_out = Diagnostics("lsgan", paired), 0.5
    assert diagnostics.validated(100, {"l1": 0.6}, {"l1": held_out}) == []
    found = []
    for number in range(1, 4):
        held_out = 0.5 * (worse if worse > 1 else worse**number)
        found += diagnostics.validated(100 + number, {"l1": held_out / gap}, {"l1": held_out})
    assert bool(found) is expected


@pytest.mark.parametrize(
    ("train", "held_out", "expected"),
    [
        (0.9, 0.2, True),
        (0.9, 0.6, False),
        (0.3, 0.12, False),  # noise
    ],
)
def test_a_discriminator_that_memorized_its_images(
    train: float, held_out: float, expected: bool
) -> None:
    diagnostics = Diagnostics("lsgan", paired=False)
    found = [
        one
        for images in range(100, 103)
        for one in diagnostics.validated(images, {"d_b": train}, {"d_b": held_out}, {"d_b": 0.1})
    ]
    assert bool(found) is expected


def test_signs_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(4, 3, 64, 64, generator=generator) - 0.5
    translations = Translations(source, -source, -source, True)
    found = signs(translations)
    assert found["tones"] == pytest.approx(-1, abs=1e-4)
    assert found["tones_target"] == pytest.approx(1, abs=1e-4)
    assert found["edges"] == pytest.approx(1, abs=1e-4)
    unchanged = signs(Translations(source, source, -source, False))
    assert unchanged["change"] == 0 and unchanged["distance"] > 0.2
    one = source[:1].repeat(4, 1, 1, 1)
    assert signs(Translations(source, one, source, True))["spread_generated"] == pytest.approx(
        0, abs=1e-6
    )
    pattern = torch.zeros(1, 1, 64, 64)
    pattern[:, :, ::2, ::2] = 1
    smooth = torch.linspace(-1, 1, 64).expand(4, 3, 64, 64)
    with_pattern = signs(Translations(smooth, smooth * 0.5 + 0.3 * pattern, smooth, True))
    assert (
        with_pattern["pattern_generated"] > 8 * max(with_pattern["pattern_target"], 1)
        and with_pattern["pattern_depth"] > 0.05
    )
    scored = signs(
        Translations(source, source, source, True, torch.full((9,), -3.0), torch.full((9,), 3.0))
    )
    assert scored["recognized"] == 1 and scored["generated_high"] == -3 and scored["real_low"] == 3
    equal_scores = signs(Translations(source, source, source, True, torch.ones(9), torch.ones(7)))
    assert equal_scores["recognized"] == 0.5  # equal scores separate nothing
    fake, real = torch.arange(20.0), torch.arange(10.0) + 10.5
    scored = signs(Translations(source, source, source, True, fake, real))
    assert scored["generated_high"] == 17 and scored["real_low"] == 11.5
    assert scored["recognized"] == pytest.approx(
        (11 + 12 + 13 + 14 + 15 + 16 + 17 + 18 + 19 + 20) / 200
    )
