"""Which validation was the best, and how long ago."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..metric_names import HIGHER


@dataclass
class Best:
    """The best value of a `metric` so far, where it was, and the validations since."""

    metric: str
    value: float | None = None
    images: int = 0
    weights: str = "raw"
    """raw, or averaged."""
    since: int = 0
    last: int = -1
    """Images at the latest validation, so that a run which goes on does not count it twice."""
    of: str = ""
    """What tells the held-out images from others; empty where nothing is validated."""

    def take(self, values: dict[str, float], images: int) -> str | None:
        """Look at a validation, weights -> value; the weights that are better than all before.

        A value that is not a number never is; the first one that is, always.
        """
        self.last = images
        sound = {name: value for name, value in values.items() if math.isfinite(value)}
        pick = max if self.metric in HIGHER else min
        name = pick(sound, key=lambda one: sound[one], default=None)
        if name is not None and self._better(sound[name]):
            self.value, self.images, self.weights, self.since = sound[name], images, name, 0
            return name
        self.since += 1
        return None

    def _better(self, value: float) -> bool:
        if self.value is None:
            return True
        return value > self.value if self.metric in HIGHER else value < self.value

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    def restore(self, state: dict[str, Any]) -> str:
        """Go on from `state`; from nothing where it can't be compared with what comes, and then
        returns why."""
        metric, of = state.get("metric"), state.get("of", self.of)
        if metric != self.metric:
            return f"the best by {metric} is forgotten: it is chosen by {self.metric} now"
        if self.of and of not in ("", self.of):
            return f"the best by {metric} is forgotten: it is of other held-out images than now"
        self.value, self.images = state["value"], state["images"]
        self.weights, self.since = state["weights"], state["since"]
        self.last, self.of = state["last"], self.of or of
        return ""
