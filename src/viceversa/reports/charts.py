"""Line charts as SVG, with round ticks, gaps, and logarithmic axes for a wide range of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from .page import render
from .run_folder import Curve

MAX_POINTS = 400  # of a line; longer lines are averaged
MANY_POINTS, FEW_POINTS = 8000, 40  # of all lines of a chart; of a line of many
MIN, MAX = 1e-290, 4e307  # smaller absolute values are drawn as 0, larger ones as MAX
WIDTH, HEIGHT = 1000.0, 300.0  # of the SVG, which is scaled to the size of the plot
LOG_DECADES = 1.5  # range of values, as a power of ten, from which the axis is logarithmic
COLOURS = 8  # in page.css; more lines are dashed


class Series(NamedTuple):
    """A line of a chart; `colour`: index of a colour of page.css."""

    name: str
    points: Curve
    colour: int = 0
    dashed: bool = False


class Mark(NamedTuple):
    """A marked point of a chart."""

    x: float
    y: float
    text: str


class Axis(NamedTuple):
    """The range of an axis and its ticks."""

    low: float
    high: float
    ticks: list[float]
    log: bool = False

    def position(self, value: float) -> float:
        """Return the position of a value: 0 at the low end, 1 at the high end."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = (math.log10(max(v, self.low)) for v in (low, high, value))
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def label(self, tick: float) -> str:
        """Return the text of a tick, in thousands (k) or millions (M) if the largest tick is."""
        largest = max(map(abs, self.ticks))
        for size, unit in ((1e6, "M"), (1e3, "k")):
            if 2 * size <= largest < 1e9 and tick:
                return f"{tick / size:.4g}{unit}"
        return f"{tick:.4g}"


def chart(title: str, series: Sequence[Series], note: str = "", marks: Sequence[Mark] = ()) -> str:
    """Return a chart over images processed, or an empty text if no value is finite."""
    most = max(FEW_POINTS, min(MAX_POINTS, MANY_POINTS // max(1, len(series))))
    thin = [one._replace(points=thinned(one.points, most)) for one in series]
    drawn = [one for one in thin if _finite(one.points)]
    if not drawn:
        return ""
    x = x_axis([x for one in drawn for x, _ in one.points] + [mark.x for mark in marks])
    y = y_axis([y for one in drawn for y in _finite(one.points)] + [mark.y for mark in marks])
    lines = [_line(one, x, y) for one in drawn]
    size = {"width": WIDTH, "height": HEIGHT}
    return render("chart.html", title=title, note=note, lines=lines, marks=marks, x=x, y=y, **size)


def _line(one: Series, x: Axis, y: Axis) -> dict[str, Any]:
    """Return the values of a line for the template."""
    path = ""
    for has_value, part in groupby(one.points, key=lambda point: point[1] is not None):
        if has_value:
            points = [
                f"{WIDTH * x.position(at):.1f} {HEIGHT * (1 - y.position(value or 0)):.1f}"
                for at, value in part
            ]
            # A segment of length 0 is drawn as a dot.
            path += "M" + "L".join(points) + ("h0" if len(points) == 1 else "")
    finite = _finite(one.points)
    return {
        "name": one.name,
        "path": path,
        "style": f"c{one.colour % COLOURS}",
        "dashed": one.dashed or one.colour >= COLOURS,
        "x": [round(at) for at, _ in one.points],
        "y": [None if value is None else float(f"{value:.5g}") for _, value in one.points],
        "first": finite[0],
        "last": finite[-1],
    }


def _finite(points: Curve) -> list[float]:
    return [value for _, value in points if value is not None]


def thinned(points: Curve, most: int = MAX_POINTS) -> Curve:
    """Return at most `most` points, each the mean of neighbouring points."""
    if len(points) <= most:
        return list(points)
    bounds = [len(points) * i // most for i in range(most + 1)]
    means: Curve = []
    for start, end in pairwise(bounds):
        values = _finite(points[start:end])
        x = math.fsum(x for x, _ in points[start:end]) / (end - start)
        # Divided first: the sum of large values would overflow.
        means.append((x, math.fsum(v / len(values) for v in values) if values else None))
    return means


def x_axis(values: Sequence[float]) -> Axis:
    """Return the axis from 0 to the largest number of images."""
    high = max(values, default=0.0) or 1.0
    return Axis(0.0, high, _round_ticks(0.0, high, 4))


def y_axis(values: Sequence[float]) -> Axis:
    """Return an axis with a margin, logarithmic for positive values that span LOG_DECADES."""
    values = [0.0 if abs(v) < MIN else min(max(v, -MAX), MAX) for v in values]
    low, high = min(values), max(values)
    if low > 0 and math.log10(high) - math.log10(low) >= LOG_DECADES:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        step = max(1, math.ceil((last - first) / 5))
        multiples = (1, 2, 5) if high < 100 * low else (1,)
        ticks = [m * 10.0**n for n in range(first, last + 1, step) for m in multiples]
        low, high = low / 1.3, high * 1.3
        return Axis(low, high, [tick for tick in ticks if low <= tick <= high], log=True)
    margin = (high - low) / 20
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(high) / 2 or 1.0
    bottom = 0.0 if 0 <= low <= (high - low) / 2 else low - margin
    return Axis(bottom, high + margin, _round_ticks(bottom, high + margin, 5))


def _round_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough * 0.999)
    # Rounding must not lose a tick at either end.
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]
