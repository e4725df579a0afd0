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

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; from nothing where the best is chosen by another metric now."""
        if state.get("metric") == self.metric:
            self.value, self.images = state["value"], state["images"]
            self.weights, self.since = state["weights"], state["since"]
            self.last = state["last"]
