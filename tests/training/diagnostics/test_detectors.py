"""What is told of a run's health: not at once, once, with its numbers; and over when it is over."""

from __future__ import annotations

import json

import pytest
import torch

from viceversa.training.diagnostics import Diagnostics, Finding, Translations, signs
from viceversa.training.diagnostics.rules import RULES

WELL = {
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
ILL = {
    "saturated discriminator": {"generated_high": -9.0, "real_low": 9.0},
    "collapse": {"spread_generated": 0.001},
    "identity": {"change": 0.001, "recognized": 1.0},
    "inversion": {"tones": -0.9, "tones_target": -0.9},
    "checkerboard": {"pattern_generated": 50.0, "pattern_depth": 0.2},
}


def looks(
    health: Diagnostics, times: int, ill: dict[str, float], start: int = 100
) -> list[Finding]:
    found = []
    for number in range(times):
        found += health.translations(start + 100 * number, "ab", WELL | ill)
    return found


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("name", ILL)
def test_an_illness_is_told_once_and_within_300_images(name: str, paired: bool) -> None:
    health = Diagnostics("bce", paired)
    found = looks(health, 3, ILL[name])
    assert [one.name for one in found] == [name] and found[0].state == "warning"
    assert found[0].since == 100 and found[0].saw.startswith("ab: ") and found[0].advice
    assert looks(health, 5, ILL[name], 400) == []
    over = looks(health, 4, {}, 900)
    assert [(one.name, one.state) for one in over] == [(name, "over")]


@pytest.mark.parametrize("name", ILL)
def test_what_does_not_last_is_no_finding(name: str) -> None:
    health = Diagnostics("bce", paired=True)
    for start in range(100, 2000, 300):
        assert looks(health, 2, ILL[name], start) == []
        assert looks(health, 1, {}, start + 200) == []


def test_a_healthy_run_is_left_in_peace() -> None:
    for paired in (True, False):
        assert (
            looks(Diagnostics("lsgan", paired), 50, {"generated_high": 0.6, "real_low": 0.4}) == []
        )


def test_every_rule_is_tried_here() -> None:
    assert {rule.name for rule in RULES} == set(ILL)


def test_a_run_that_goes_on_finds_the_same() -> None:
    whole, first = Diagnostics("bce", True), Diagnostics("bce", True)
    looks(first, 2, ILL["collapse"])
    second = Diagnostics("bce", True, state=json.loads(json.dumps(first.state())))
    assert looks(second, 1, ILL["collapse"], 300) == looks(whole, 3, ILL["collapse"])
    assert looks(Diagnostics("bce", True), 1, ILL["collapse"], 300) == []  # without the state


@pytest.mark.parametrize(("norm", "name"), [
    (1e-8, "vanishing gradients"), (1e6, "exploding gradients"),
])  # fmt: skip
def test_gradients_that_vanish_or_explode(norm: float, name: str) -> None:
    health = Diagnostics("bce", True)
    for images in range(50, 300, 50):
        assert health.training(images, {"generator": 1.0}) == []
    found = [one for i in range(300, 600, 50) for one in health.training(i, {"generator": norm})]
    assert [one.name for one in found] == [name] and "1" in found[0].saw


def test_over_fitting_is_a_gap_that_grows() -> None:
    health, calm = Diagnostics("bce", True), Diagnostics("bce", True)
    found = []
    for number in range(8):
        train, held_out = 0.3 * 0.8**number, 0.3 + 0.02 * number
        found += health.validated(100 * number, {"l1": train}, {"l1": held_out})
        # ... and not one that stays while both get better
        assert calm.validated(100 * number, {"l1": train}, {"l1": 2 * train}) == []
    assert [one.name for one in found] == ["over-fitting"]


@pytest.mark.parametrize(("paired", "worse", "gap", "told"), [
    (True, 1.03, 1.15, True),  # held out is worse than it was, and far enough from training's
    (True, 1.01, 1.15, False),  # hardly worse
    (True, 1.01, 1.60, True),  # hardly worse, but far from training's
    (True, 0.99, 1.60, False),  # still better
    (True, 1.03, 1.05, False),  # as bad on training images
    (False, 1.03, 1.30, False),  # there and back is learnt by heart before it harms
    (False, 1.03, 1.60, True),
])  # fmt: skip
def test_how_far_apart_errors_are_when_that_is_over_fitting(
    paired: bool, worse: float, gap: float, told: bool
) -> None:
    health, held_out = Diagnostics("lsgan", paired), 0.5
    assert health.validated(100, {"l1": 0.6}, {"l1": held_out}) == []
    found = []
    for number in range(1, 4):
        held_out = 0.5 * (worse if worse > 1 else worse**number)
        found += health.validated(100 + number, {"l1": held_out / gap}, {"l1": held_out})
    assert bool(found) is told


@pytest.mark.parametrize(("train", "held_out", "told"), [
    (0.9, 0.2, True), (0.9, 0.6, False), (0.3, 0.12, False),  # the last one: noise
])  # fmt: skip
def test_a_discriminator_that_knows_its_images_by_heart(
    train: float, held_out: float, told: bool
) -> None:
    health = Diagnostics("lsgan", paired=False)
    found = [
        one for images in range(100, 103)
        for one in health.validated(images, {"d_b": train}, {"d_b": held_out}, {"d_b": 0.1})
    ]  # fmt: skip
    assert bool(found) is told


def test_signs_of_pictures_by_hand() -> None:
    draw = torch.Generator().manual_seed(0)
    source = torch.rand(4, 3, 64, 64, generator=draw) - 0.5
    way = Translations(source, -source, -source, True)
    found = signs(way)
    assert found["tones"] == pytest.approx(-1, abs=1e-4)
    assert found["tones_target"] == pytest.approx(1, abs=1e-4)
    assert found["edges"] == pytest.approx(1, abs=1e-4)
    same = signs(Translations(source, source, -source, False))
    assert same["change"] == 0 and same["distance"] > 0.2
    one = source[:1].repeat(4, 1, 1, 1)
    assert signs(Translations(source, one, source, True))["spread_generated"] == pytest.approx(
        0, abs=1e-6
    )
    checks = torch.zeros(1, 1, 64, 64)
    checks[:, :, ::2, ::2] = 1
    smooth = torch.linspace(-1, 1, 64).expand(4, 3, 64, 64)
    gridded = signs(Translations(smooth, smooth * 0.5 + 0.3 * checks, smooth, True))
    assert (
        gridded["pattern_generated"] > 8 * max(gridded["pattern_target"], 1)
        and gridded["pattern_depth"] > 0.05
    )
    judged = signs(
        Translations(source, source, source, True, torch.full((9,), -3.0), torch.full((9,), 3.0))
    )
    assert judged["recognized"] == 1 and judged["generated_high"] == -3 and judged["real_low"] == 3
    alike = signs(Translations(source, source, source, True, torch.ones(9), torch.ones(7)))
    assert alike["recognized"] == 0.5  # nothing is told apart by equal logits
    made, real = torch.arange(20.0), torch.arange(10.0) + 10.5
    scored = signs(Translations(source, source, source, True, made, real))
    assert scored["generated_high"] == 17 and scored["real_low"] == 11.5
    assert scored["recognized"] == pytest.approx(
        (11 + 12 + 13 + 14 + 15 + 16 + 17 + 18 + 19 + 20) / 200
    )
