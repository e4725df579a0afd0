"""When a run is looked at: by images processed, and sample grids by time too."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from ..config.run import RunConfig
from .requests import crossed

FIRST_GRID = 1.0  # minutes after which a run, also a resumed one, draws a grid at the latest


class Due(NamedTuple):
    """The looks that are due."""

    draw: bool
    measure: bool
    examine: bool


class Schedule:
    """Decides which looks are due, and remembers which have been made.

    Time decides on sample grids alone, so what a run learns and logs never depends on the clock.
    """

    def __init__(self, config: RunConfig):
        train, validate = config.train, config.validate
        self._intervals = train.sample_every, validate.every, validate.health
        self._seconds = 60 * train.sample_minutes or math.inf
        self._next = time.monotonic() + min(60 * FIRST_GRID, self._seconds)
        self.looked = 0  # images at which all looks that were due have been made
        self.drawn = -1  # images of the latest sample grid

    def due(self, images: int) -> Due:
        """The looks that have become due since `looked`."""
        draw, measure, examine = (crossed(self.looked, images, one) for one in self._intervals)
        late = math.isfinite(self._seconds) and time.monotonic() >= self._next
        return Due((draw or late) and images != self.drawn, measure, examine)

    def drew(self, images: int) -> None:
        """A sample grid has been drawn; that of untrained networks does not put off the next."""
        self.drawn = images
        if images:
            self._next = time.monotonic() + self._seconds
