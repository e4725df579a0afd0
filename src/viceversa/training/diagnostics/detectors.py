"""Findings of problems from signs over time. Plain Python, no tensors.

A rule that holds once is no finding: it may hold for any untrained network. A finding begins when
its rule has held several times in a row, over some steps, after the first steps; it ends when the
rule has not held as often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from . import rules
from .rules import RULES, Signs

TIMES = 3  # in a row
STEPS = 200  # between the first and the last of them
AFTER = 50  # first steps, in which nothing is reported
HISTORY = 30  # gradient norms that are stored


class Finding(NamedTuple):
    """A problem that began (`warning`) or is `resolved`.

    `of` is a direction, an optimizer group or a metric; `since` counts images processed; `text`
    describes what was observed.
    """

    name: str
    of: str
    state: Literal["warning", "resolved"]
    since: int
    text: str
    advice: str

    @property
    def line(self) -> str:
        """A line for the terminal."""
        since = f"{self.name}, since {self.since} images"
        if self.state == "resolved":
            return f"no longer detected: {since}"
        return f"warning: {since}: {self.text}. Try {self.advice}"


class Patience(NamedTuple):
    """How often in a row, over how many images, and after how many, a rule must hold."""

    times: int
    images: int
    after: int


class Diagnostics:
    """Detect problems of a run from signs, gradient norms and validation errors over time.

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
        self.per_look = Patience(TIMES, STEPS * batch, AFTER * batch)
        self.per_gradient = Patience(TIMES, AFTER * batch, AFTER * batch)
        self.per_validation = Patience(TIMES, 0, AFTER * batch)
        state = state or {"cases": {}, "norms": {}, "errors": {}}
        self._cases: dict[str, dict[str, Any]] = {k: dict(v) for k, v in state["cases"].items()}
        self._norms: dict[str, list[float]] = {k: list(v) for k, v in state["norms"].items()}
        # metric -> (held-out error, training error) at each validation since the best held-out one
        self._errors: dict[str, list[list[float]]] = {
            k: [list(pair) for pair in v] for k, v in state["errors"].items()
        }

    def state(self) -> dict[str, Any]:
        """Return plain values (JSON) for a checkpoint."""
        return {
            "cases": {k: dict(v) for k, v in self._cases.items()},
            "norms": {k: list(v) for k, v in self._norms.items()},
            "errors": {k: [list(pair) for pair in v] for k, v in self._errors.items()},
        }

    def translations(self, images: int, direction: str, signs: Signs) -> list[Finding]:
        """Return the findings that begin or end with the signs of one generator."""
        found = [
            self._case(
                rule.name,
                direction,
                images,
                self.per_look,
                rule.advice,
                rule.check(signs, self.objective, self.paired),
            )
            for rule in RULES
        ]
        return [finding for finding in found if finding]

    def training(self, images: int, norms: Mapping[str, float]) -> list[Finding]:
        """Return the findings that begin or end with the gradient norm of each player."""
        found = []
        for player, norm in norms.items():
            if not math.isfinite(norm):
                continue  # such a step changed nothing, and ends the run anyway
            vanished, exploded = self._gradient(player, norm)
            found += [
                self._case(
                    "vanishing gradients",
                    player,
                    images,
                    self.per_gradient,
                    rules.VANISHING,
                    vanished,
                ),
                self._case(
                    "exploding gradients",
                    player,
                    images,
                    self.per_gradient,
                    rules.EXPLODING,
                    exploded,
                ),
            ]
        return [finding for finding in found if finding]

    def validated(
        self,
        images: int,
        train: Mapping[str, float],
        held_out: Mapping[str, float],
        generated: Mapping[str, float] | None = None,
    ) -> list[Finding]:
        """Return the findings that begin or end with errors on training and held-out images.

        For names in `generated`, all three are mean scores of a discriminator instead: on training
        images, on held-out images, and on translations.
        """
        found = []
        for name in sorted(train.keys() & held_out.keys()):
            if generated is not None and name in generated:
                text = _memorized(train[name], held_out[name], generated[name])
            else:
                text = self._overfitting(name, train[name], held_out[name])
            found.append(
                self._case(
                    "over-fitting", name, images, self.per_validation, rules.OVER_FITTING, text
                )
            )
        return [finding for finding in found if finding]

    def _case(
        self, name: str, of: str, images: int, patience: Patience, advice: str, text: str | None
    ) -> Finding | None:
        """Return a finding if a problem begins or ends; `text`: what was observed, or None."""
        if images < patience.after:
            return None
        key = f"{name} {of}"
        fresh = {"reported": False, "changed": images, "times": 0, "since": images, "text": ""}
        case = self._cases.setdefault(key, fresh)
        if (text is not None) == case["reported"]:  # as reported before
            case["times"] = 0
            case["text"] = text or ""
            return None
        if not case["times"]:
            case["changed"] = images
        case["times"] += 1
        if case["times"] < patience.times or images - case["changed"] < patience.images:
            return None
        case["times"] = 0
        case["reported"] = text is not None
        if text is not None:
            case["since"] = case["changed"]
            case["text"] = text
            advice = "; ".join([advice, self.advice[name]] if name in self.advice else [advice])
            return Finding(name, of, "warning", case["since"], f"{of}: {text}", advice)
        since = f"{of}: not detected since {case['changed']} images"
        return Finding(name, of, "resolved", case["since"], since, "")

    def _gradient(self, player: str, norm: float) -> tuple[str | None, str | None]:
        """Return descriptions of a vanished and of an exploded gradient; None if it is neither."""
        before = self._norms.setdefault(player, [])
        usual = median(before) if before else None
        vanished = norm < rules.VANISHED or (usual is not None and norm < rules.FALLEN * usual)
        exploded = norm > rules.EXPLODED or (usual is not None and norm > rules.RISEN * usual)
        if not (vanished or exploded):
            before.append(norm)
            del before[:-HISTORY]
        usually = f", usually {usual:.2g}" if usual is not None else ""
        text = f"the gradient norm is {norm:.2g}{usually}"
        return text if vanished else None, text if exploded else None

    def _overfitting(self, name: str, train: float, held_out: float) -> str | None:
        """Describe an error that grew on held-out images and fell on training images."""
        if not (math.isfinite(train) and math.isfinite(held_out)):
            return None
        errors = self._errors.setdefault(name, [])
        if not errors or held_out <= errors[0][0]:
            errors[:] = [[held_out, train]]
            return None
        best, train_then = errors[0]
        # The cycle error is lower on training images long before that does any harm.
        gap = rules.GAP if self.paired else rules.FAR
        if train >= train_then or held_out < gap * train:
            return None
        if held_out < rules.WORSE * best and held_out < rules.FAR * train:
            return None
        return (
            f"{name} on held-out images is {held_out:.3g}, at best {best:.3g}; on training images "
            f"it fell from {train_then:.3g} to {train:.3g}"
        )


def _memorized(train: float, held_out: float, generated: float) -> str | None:
    """Describe a discriminator that scores held-out images like generated ones (ADA, eq. 1)."""
    if train - generated < rules.LEAST_GAP:
        return None
    fraction = (train - held_out) / (train - generated)
    if fraction < rules.MEMORIZED:
        return None
    return (
        f"the discriminator scores training images {train:.2f}, translations {generated:.2f}, and "
        f"held-out real images {held_out:.2f}"
    )
