"""Line charts as SVG, with round ticks, gaps, and logarithmic axes for a wide range of values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .log_columns import Column
from .page import render
from .run_folder import Curve

MAX_POINTS = 400  # of a line; of longer lines, means and extremes are drawn
MANY_POINTS, FEW_POINTS = 8000, 40  # of all lines of a chart; of a line of many
MIN, MAX = 1e-290, 4e307  # smaller absolute values are drawn as 0, larger ones as MAX
WIDTH, HEIGHT = 1000.0, 300.0  # of the SVG, which is scaled to the size of the plot
LOG_DECADES = 1.5  # range of values, as a power of ten, from which the axis is logarithmic
COLOURS = 8  # in page.css; more lines are dashed


class Series(NamedTuple):
    """A line of a chart.

    `points`: (n, 2) of images processed and value, NaN for a gap; `colour`: index of a colour of
    page.css; `run`: index of its run on the page, whose epochs and times the x-axis can show.
    """

    name: str
    points: ArrayLike
    colour: int = 0
    dashed: bool = False
    run: int = 0


class Mark(NamedTuple):
    """A marked point of a chart."""

    x: float
    y: float
    text: str


class Line(NamedTuple):
    """The drawn points of a series: means of neighbouring points with their extremes.

    `low` and `high` are None if every point is drawn.
    """

    series: Series
    x: Column
    y: Column
    low: Column | None = None
    high: Column | None = None

    def finite(self) -> Column:
        """Return all finite values, with the extremes."""
        known = [one for one in (self.y, self.low, self.high) if one is not None]
        values: Column = np.concatenate(known)
        return values[np.isfinite(values)]


class Axis(NamedTuple):
    """The range of an axis and its ticks."""

    low: float
    high: float
    ticks: list[float]
    log: bool = False

    def positions(self, values: ArrayLike) -> Column:
        """Return the positions of values: 0 at the low end, 1 at the high end."""
        low, high, at = self.low, self.high, np.clip(values, self.low, self.high)
        if self.log:
            low, high, at = math.log10(low), math.log10(high), np.log10(at)
        return np.asarray((at - low) / (high - low), float)

    def position(self, value: float) -> float:
        """Return the position of a value."""
        return float(self.positions(value))

    def label(self, tick: float) -> str:
        """Return the text of a tick, in thousands (k) or millions (M) if the largest tick is."""
        largest = max(map(abs, self.ticks))
        for size, unit in ((1e6, "M"), (1e3, "k")):
            if 2 * size <= largest < 1e9 and tick:
                return f"{self._precise(tick, size)}{unit}"
        return self._precise(tick)

    @property
    def characters(self) -> int:
        """The length of the longest label."""
        return max((len(self.label(tick)) for tick in self.ticks), default=0)

    def _precise(self, tick: float, size: float = 1.0) -> str:
        """Return tick / size with four digits, or more if ticks are close to each other."""
        gap = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else math.inf
        digits = 4
        while digits < 12 and abs(float(f"{tick / size:.{digits}g}") * size - tick) > gap / 1000:
            digits += 1
        return f"{tick / size:.{digits}g}"


def chart(title: str, series: Sequence[Series], note: str = "", marks: Sequence[Mark] = ()) -> str:
    """Return a chart over images processed, or an empty text if no value is finite."""
    most = max(FEW_POINTS, min(MAX_POINTS, MANY_POINTS // max(1, len(series))))
    thin = [thinned(one, most) for one in series]
    if len(series) > COLOURS:  # the extremes of many lines would hide the lines
        thin = [line._replace(low=None, high=None) for line in thin]
    lines = [line for line in thin if np.isfinite(line.y).any()]
    if not lines:
        return ""
    drawn_at = [x for line in lines for x in (*line.x[np.isfinite(line.y)], line.x.max())]
    x = x_axis(drawn_at + [mark.x for mark in marks])
    y = y_axis(np.concatenate([line.finite() for line in lines] + [[mark.y for mark in marks]]))
    drawn = [_drawn(line, x, y) for line in lines]
    values = {"title": title, "note": note, "lines": drawn, "marks": marks, "x": x, "y": y}
    return render("chart.html", width=WIDTH, height=HEIGHT, **values)


def thinned(series: Series, most: int = MAX_POINTS) -> Line:
    """Return at most `most` points, each the mean of neighbouring points, with their extremes."""
    points: Curve = np.asarray(series.points, float).reshape(-1, 2)
    x, y = points.T
    if len(points) <= most:
        return Line(series, x, y)
    starts = len(points) * np.arange(most) // most
    valid = np.isfinite(y)
    with np.errstate(over="ignore", invalid="ignore"):  # means of the largest numbers are gaps
        sums = np.add.reduceat(np.where(valid, y, 0), starts)
        means = sums / np.add.reduceat(valid.astype(float), starts)
    sizes = np.diff(starts, append=len(points))
    middle = np.add.reduceat(x, starts) / sizes
    return Line(series, middle, means, np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts))


def _drawn(line: Line, x: Axis, y: Axis) -> dict[str, Any]:
    """Return the values of a line for the template."""
    series, across = line.series, WIDTH * x.positions(line.x)
    path, band, dots = "", "", ""
    for part in _parts(line.y):
        points = _points(across[part], line.y[part], y)
        if len(points) == 1:  # a segment of length 0 is drawn as a dot
            points[0] += "h0"
            dots += f"M{points[0]}"
        path += "M" + "L".join(points)
        if line.low is not None and line.high is not None:
            above = _points(across[part], line.high[part], y)
            below = _points(across[part], line.low[part], y)
            band += "M" + "L".join([*above, *reversed(below)]) + "Z"
    finite = line.y[np.isfinite(line.y)]
    return {
        "name": series.name,
        "run": series.run,
        "path": path,
        "band": band,
        "dots": dots,
        "style": f"c{series.colour % COLOURS}",
        "dashed": series.dashed or series.colour >= COLOURS,
        "x": [round(at) for at in line.x.tolist()],
        "y": _rounded(line.y, y),
        "low": _rounded(line.low, y),
        "high": _rounded(line.high, y),
        "first": float(finite[0]),
        "last": _last(series),
    }


def _last(series: Series) -> float:
    """Return the last finite value of a series, which is not a mean."""
    values = np.asarray(series.points, float).reshape(-1, 2)[:, 1]
    return float(values[np.isfinite(values)][-1])


def _parts(values: Column) -> Iterator[slice]:
    """Yield the parts between gaps."""
    edges = np.flatnonzero(np.diff(np.isfinite(values), prepend=False, append=False))
    for start, end in edges.reshape(-1, 2).tolist():
        yield slice(start, end)


def _points(across: Column, values: Column, y: Axis) -> list[str]:
    down = HEIGHT * (1 - y.positions(values))
    return [f"{a:.1f} {b:.1f}" for a, b in zip(across.tolist(), down.tolist(), strict=True)]


def _rounded(values: Column | None, y: Axis) -> list[float | None] | None:
    """Return values with five significant digits, or more on a short axis; None for a gap."""
    if values is None:
        return None
    digits = 5
    if not y.log:
        largest = max(abs(y.low), abs(y.high))
        digits = max(digits, math.ceil(math.log10(largest / (y.high - y.low))) + 4)
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in values.tolist()]


def x_axis(values: Sequence[float]) -> Axis:
    """Return the axis from 0 to the largest number of images; a single number is in the middle."""
    high = float(max(values, default=0.0)) or 1.0
    if len(set(values)) == 1:
        high *= 2
    return Axis(0.0, high, _round_ticks(0.0, high, 4))


def y_axis(values: ArrayLike) -> Axis:
    """Return an axis with a margin, logarithmic for positive values that span LOG_DECADES."""
    at = np.clip(np.asarray(values, float), -MAX, MAX)
    at[abs(at) < MIN] = 0
    low, high = float(at.min()), float(at.max())
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
