"""Intervals of monitoring: by images processed, and of sample grids also by time."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from ..config.run import RunConfig
from .requests import crossed

FIRST_GRID = 1.0  # minutes after which a run, also a resumed one, draws a sample grid at the latest


class Due(NamedTuple):
    """Parts of monitoring that are due."""

    draw: bool
    validate: bool
    diagnose: bool


class Schedule:
    """Decide which parts of monitoring are due.

    Time decides on sample grids only: weights and logged numbers do not depend on the clock.
    """

    def __init__(self, config: RunConfig):
        train, validate = config.train, config.validate
        self._intervals = train.sample_every, validate.every, validate.health
        self._seconds = 60 * train.sample_minutes or math.inf
        self._next = time.monotonic() + min(60 * FIRST_GRID, self._seconds)
        self.monitored = 0  # images at the last call at which everything due was done
        self.drawn = -1  # images of the latest sample grid

    def due(self, images: int) -> Due:
        """Return what has become due since `monitored`."""
        draw, validate, diagnose = (crossed(self.monitored, images, i) for i in self._intervals)
        late = math.isfinite(self._seconds) and time.monotonic() >= self._next
        return Due((draw or late) and images != self.drawn, validate, diagnose)

    def note_drawn(self, images: int) -> None:
        """Note a sample grid; that of untrained networks does not delay the next one."""
        self.drawn = images
        if images:
            self._next = time.monotonic() + self._seconds
