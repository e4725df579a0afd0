"""Detectors: signs through time to findings. Plain Python, no tensor.

A rule that holds once is no finding: every network looks ill when it begins. A finding begins when
its rule has held at several looks in a row, for a while, after the first steps; and is over when it
has not held for as many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from . import rules
from .rules import RULES, Signs

LOOKS = 3  # in a row
STEPS = 200  # that they are apart, first and last
AFTER = 50  # steps that a network may begin with as it likes
KEPT = 30  # looks whose gradients are remembered


class Finding(NamedTuple):
    """What is wrong, or no longer is; `since` counts images seen, `of` says where: ab, d_b, ..."""

    name: str
    of: str
    state: Literal["warning", "over"]
    since: int
    saw: str
    advice: str


class Patience(NamedTuple):
    """How often in a row, over how many images and after how many, a rule must have held."""

    times: int
    images: int
    after: int


class Health:
    """Watches a run: told what is logged and seen, returns what begins or ends to be wrong.

    Args:
        objective: Name of the adversarial objective.
        paired: Whether the method trains on pairs.
        batch: Images in a step.
        advice: Advice of the method by problem, added to the general one.
        state: The `state` of the run that is resumed.
    """

    def __init__(
        self,
        objective: str,
        paired: bool,
        batch: int = 1,
        advice: Mapping[str, str] = MappingProxyType({}),
        state: dict[str, Any] | None = None,
    ):
        self.objective, self.paired, self.advice = objective, paired, advice
        self.looks = Patience(LOOKS, STEPS * batch, AFTER * batch)
        self.means = Patience(LOOKS, AFTER * batch, AFTER * batch)
        self.validations = Patience(LOOKS, 0, AFTER * batch)
        state = state or {"cases": {}, "norms": {}, "errors": {}}
        self._cases: dict[str, dict[str, Any]] = {k: dict(v) for k, v in state["cases"].items()}
        self._norms: dict[str, list[float]] = {k: list(v) for k, v in state["norms"].items()}
        # metric -> (held-out error, training error) at each validation since the best held-out one
        self._errors: dict[str, list[list[float]]] = {
            k: [list(pair) for pair in v] for k, v in state["errors"].items()
        }

    def state(self) -> dict[str, Any]:
        """Plain values (JSON) for a run that goes on to find the same."""
        return {
            "cases": {k: dict(v) for k, v in self._cases.items()},
            "norms": {k: list(v) for k, v in self._norms.items()},
            "errors": {k: [list(pair) for pair in v] for k, v in self._errors.items()},
        }

    def look(self, images: int, way: str, signs: Signs) -> list[Finding]:
        """Take in the signs of one generator, `way` ab or ba, after so many images."""
        told = [
            self._case(
                rule.name, way, images, self.looks, rule.advice,
                rule.seen(signs, self.objective, self.paired),
            )
            for rule in RULES
        ]  # fmt: skip
        return [finding for finding in told if finding]

    def trained(self, images: int, gradients: dict[str, float]) -> list[Finding]:
        """Take in the gradient norm of each player."""
        told = []
        for player, norm in gradients.items():
            if not math.isfinite(norm):
                continue  # such a step changed nothing, and others tell of it
            gone, burst = self._gradient(player, norm)
            told += [
                self._case(
                    "vanishing gradients", player, images, self.means, rules.VANISHING, gone
                ),
                self._case(
                    "exploding gradients", player, images, self.means, rules.EXPLODING, burst
                ),
            ]
        return [finding for finding in told if finding]

    def validated(
        self, images: int, train: dict[str, float], held_out: dict[str, float],
        made: dict[str, float] | None = None,
    ) -> list[Finding]:  # fmt: skip
        """Take in the same errors (less is better) on training images and on held-out ones.

        For names in `made`, all three are a discriminator's mean scores instead: on training
        images, on held-out ones, and on translations.
        """
        told = []
        for name in sorted(train.keys() & held_out.keys()):
            if made is not None and name in made:
                saw = _memorised(train[name], held_out[name], made[name])
            else:
                saw = self._apart(name, train[name], held_out[name])
            told.append(
                self._case("over-fitting", name, images, self.validations, rules.OVER_FITTING, saw)
            )
        return [finding for finding in told if finding]

    def _case(
        self, name: str, of: str, images: int, patience: Patience, advice: str, saw: str | None
    ) -> Finding | None:
        """What there is to tell of a rule now that it holds (with what it saw) or does not."""
        if images < patience.after:
            return None
        key = f"{name} {of}"
        fresh = {"told": False, "turned": images, "times": 0, "since": images, "saw": ""}
        case = self._cases.setdefault(key, fresh)
        if (saw is not None) == case["told"]:  # as it was told: nothing turns
            case["times"] = 0
            case["saw"] = saw or ""
            return None
        if not case["times"]:
            case["turned"] = images
        case["times"] += 1
        if case["times"] < patience.times or images - case["turned"] < patience.images:
            return None
        case["times"] = 0
        case["told"] = saw is not None
        if saw is not None:
            case["since"] = case["turned"]
            case["saw"] = saw
            advice = "; ".join([advice, self.advice[name]] if name in self.advice else [advice])
            return Finding(name, of, "warning", case["since"], f"{of}: {saw}", advice)
        return Finding(name, of, "over", case["since"],
                       f"{of}: not detected since {case['turned']} images", "")  # fmt: skip

    def _gradient(self, player: str, norm: float) -> tuple[str | None, str | None]:
        """(what shows that it vanished, what shows that it exploded)."""
        before = self._norms.setdefault(player, [])
        usual = median(before) if before else None
        gone = norm < rules.GONE or (usual is not None and norm < rules.FALLEN * usual)
        burst = norm > rules.BURST or (usual is not None and norm > rules.RISEN * usual)
        if not (gone or burst):
            before.append(norm)
            del before[:-KEPT]
        was = f", and was {usual:.2g}" if usual is not None else ""
        saw = f"the gradient's norm is {norm:.2g}{was}"
        return saw if gone else None, saw if burst else None

    def _apart(self, name: str, train: float, held_out: float) -> str | None:
        """Held-out images have become worse while training images became better."""
        if not (math.isfinite(train) and math.isfinite(held_out)):
            return None
        errors = self._errors.setdefault(name, [])
        if not errors or held_out <= errors[0][0]:
            errors[:] = [[held_out, train]]
            return None
        best, train_then = errors[0]
        # The way there and back is better on training images long before that does any harm.
        gap = rules.GAP if self.paired else rules.FAR
        if train >= train_then or held_out < gap * train:
            return None
        if held_out < rules.WORSE * best and held_out < rules.FAR * train:
            return None
        return (
            f"{name} on held-out images is {held_out:.3g}, and was {best:.3g} at best; on training "
            f"images it fell from {train_then:.3g} to {train:.3g}"
        )


def _memorised(train: float, held_out: float, made: float) -> str | None:
    """The discriminator takes held-out real images for made ones (ADA, eq. 1)."""
    if train - made < rules.LEAST_WAY:
        return None
    share = (train - held_out) / (train - made)
    if share < rules.MEMORISED:
        return None
    return (
        f"the discriminator scores training images {train:.2f}, translations {made:.2f}, and "
        f"held-out real images {held_out:.2f}"
    )
