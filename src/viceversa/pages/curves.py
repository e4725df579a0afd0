"""Line charts as SVG: axes at round numbers, gaps, a logarithm where values span decades."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from .folder import Point
from .html import escape, figure

MOST_POINTS = 400  # of a line; of more, means of neighbours are drawn
TINY, HUGE = 1e-290, 4e307  # what is drawn as 0, and as the largest that there is
WIDTH, HEIGHT = 1000.0, 300.0  # the units of a plot; it is stretched to the room there is
DECADES = 1.5  # between least and greatest value: from here on the axis is logarithmic
COLOURS = 8  # that the style has; more lines are dashed


class Series(NamedTuple):
    """A line of a chart. Those of one `colour` (a number) belong together."""

    name: str
    points: Sequence[Point]
    colour: int = 0
    dashed: bool = False


class Mark(NamedTuple):
    """A point of a chart that is told by name."""

    x: float
    y: float
    text: str


class Axis(NamedTuple):
    """What lies between `low` and `high`, and where its ticks are."""

    low: float
    high: float
    ticks: list[float]
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies: 0 is low, 1 high."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            share = (math.log10(max(value, self.low)) - low) / (high - low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)  # rounding, and numbers at the end of what there is


def chart(title: str, series: Sequence[Series], about: str = "", marks: Sequence[Mark] = ()) -> str:
    """A figure with a line for each series over images seen; nothing where no value is finite."""
    thin = [one._replace(points=thinned(one.points)) for one in series]
    drawn = [one for one in thin if any(y is not None for _, y in one.points)]
    if not drawn:
        return ""
    marks = [mark for mark in marks if math.isfinite(mark.y)]
    values = [y for one in drawn for _, y in one.points if y is not None]
    x = x_axis([x for one in drawn for x, _ in one.points] + [mark.x for mark in marks])
    y = y_axis(values + [mark.y for mark in marks])
    lines = "\n".join(_line(one, x, y) for one in drawn)
    told = f'<span class="about">{escape(about)}</span>' if about else ""
    spoken = "; ".join(
        f"{one.name}: from {figure(_finite(one)[0])} to {figure(_finite(one)[-1])}" for one in drawn
    )
    return f"""<figure class="chart" data-title="{escape(title)}">
<figcaption><b>{escape(title)}</b> {told}{_log_word(y)}</figcaption>
<div class="plot" tabindex="0" role="img" aria-label="{escape(f"{title}. {spoken}")}"
 data-low="{x.low:.10g}" data-high="{x.high:.10g}">
<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" aria-hidden="true">
{_grid(x, y)}
{lines}
</svg>
{_labels(x, y)}{_marks(marks, x, y)}<i class="cross" hidden></i><div class="tip" hidden></div>
</div>
<div class="under">
{_legend(drawn, marks)}<span class="about">images seen</span>
</div></figure>
"""


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most so many points, each the mean of as many neighbours; what has no value is a gap."""
    if len(points) <= most:
        return list(points)
    cut = [len(points) * i // most for i in range(most + 1)]
    return [_mean(points[start:end]) for start, end in pairwise(cut)]


def _mean(points: Sequence[Point]) -> Point:
    values = [y for _, y in points if y is not None]
    x = math.fsum(x for x, _ in points) / len(points)
    # Divided first where the sum would be beyond what there is.
    large = any(abs(y) > 1e300 for y in values)
    mean = (
        sum(y / len(values) for y in values) if large else math.fsum(values) / max(len(values), 1)
    )
    return x, mean if values else None


def x_axis(values: Sequence[float]) -> Axis:
    """From no image to the last one."""
    high = max(values, default=0.0) or 1.0
    return Axis(0.0, high, [tick for tick in _round(0.0, high, 4) if tick <= high])


def y_axis(values: Sequence[float]) -> Axis:
    """All values with a little air; logarithmic where all are positive and span DECADES."""
    seen = [0.0 if abs(v) < TINY else min(max(v, -HUGE), HUGE) for v in values]
    low, high = min(seen), max(seen)
    if low > 0 and math.log10(high) - math.log10(low) >= DECADES:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        every = max(1, math.ceil((last - first) / 5))
        ends = max(low / 1.3, 1e-307), min(high * 1.3, 1e308)
        between = (1, 2, 5) if high / 100 < low else (1,)
        powers = [10.0**n for n in range(first, last + 1, every) if -307 <= n <= 307]
        ticks = [power * m for power in powers for m in between]
        return Axis(*ends, [tick for tick in ticks if ends[0] <= tick <= ends[1]], log=True)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        air = abs(high) / 2 or 1.0
    else:
        air = high / 20 - low / 20
    bottom = 0.0 if 0 <= low <= (high - low) / 2 else low - air
    top = high + air
    return Axis(bottom, top, [t for t in _round(bottom, top, 5) if bottom <= t <= top])


def _round(low: float, high: float, count: int) -> list[float]:
    """Some `count` round numbers, from below `low` to above `high`: steps of 1, 2 or 5."""
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw)) if raw > 1e-300 else 1e-300
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw * 0.999 or m == 10)
    first = math.floor(low / step)
    return [(first + i) * step for i in range(2 * count + 3) if (first + i) * step <= high + step]


def _line(one: Series, x: Axis, y: Axis) -> str:
    """The path, broken at gaps, with its values for whoever points at it."""
    parts, pen = [], "M"
    for where, value in one.points:
        if value is None:
            pen = "M"
            continue
        across = WIDTH * x.place(where)
        down = HEIGHT * (1 - min(1.0, max(0.0, y.place(value))))
        parts.append(f"{pen}{across:.1f} {down:.1f}")
        pen = "L"
    alone = _alone(one.points)
    dots = "".join(
        f"M{WIDTH * x.place(where):.1f} {HEIGHT * (1 - y.place(value)):.1f}h0"
        for where, value in alone
    )
    values = json.dumps([None if v is None else float(f"{v:.5g}") for _, v in one.points])
    wheres = json.dumps([round(where) for where, _ in one.points])
    look = f"c{one.colour % COLOURS}{' dashed' if one.dashed or one.colour >= COLOURS else ''}"
    return (
        f'<path class="line {look}" d="{"".join(parts)}{dots}" data-name="{escape(one.name)}" '
        f'data-x="{wheres}" data-y="{values}"/>'
    )


def _alone(points: Sequence[Point]) -> list[tuple[float, float]]:
    """The points between two gaps: a line through one point shows nothing, a dot does."""
    padded = [None, *[value for _, value in points], None]
    return [
        (where, value)
        for (where, value), before, after in zip(points, padded, padded[2:], strict=False)
        if value is not None and before is None and after is None
    ]


def _grid(x: Axis, y: Axis) -> str:
    across = "".join(f"M0 {HEIGHT * (1 - y.place(t)):.1f}H{WIDTH:.0f}" for t in y.ticks)
    down = "".join(f"M{WIDTH * x.place(t):.1f} 0V{HEIGHT:.0f}" for t in x.ticks)
    return f'<path class="grid" d="{across}{down}"/>'


def _labels(x: Axis, y: Axis) -> str:
    """The numbers beside the axes, as text of the page: it keeps its size when the plot shrinks."""
    sides = [
        f'<span class="y" style="top:{100 * (1 - y.place(t)):.2f}%">{_tick(t, y.ticks)}</span>'
        for t in y.ticks
    ]
    below = [
        f'<span class="x" style="left:{100 * x.place(t):.2f}%">{_tick(t, x.ticks)}</span>'
        for t in x.ticks
    ]
    return "".join(sides + below) + "\n"


def _tick(value: float, ticks: Iterable[float]) -> str:
    """A tick's number: thousands as k and millions as M, where all of them are that large."""
    largest = max(map(abs, ticks))
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if 1e9 > largest >= 2 * size:
            return f"{value / size:.4g}{unit}" if value else "0"
    return f"{value:.4g}"


def _marks(marks: Sequence[Mark], x: Axis, y: Axis) -> str:
    return "".join(
        f'<span class="mark" title="{escape(mark.text)}" style="left:{100 * x.place(mark.x):.2f}%;'
        f'top:{100 * (1 - y.place(mark.y)):.2f}%"></span>'
        for mark in marks
    )


def _legend(drawn: Sequence[Series], marks: Sequence[Mark]) -> str:
    keys = "".join(
        f'<li class="c{one.colour % COLOURS}{" dashed" if _dashed(one) else ""}"><i></i>'
        f"{escape(one.name)} <b>{figure(_finite(one)[-1])}</b></li>"
        for one in drawn
    )
    keys += "".join(f'<li><i class="mark"></i>{escape(mark.text)}</li>' for mark in marks)
    return f'<ul class="legend">{keys}</ul>\n'


def _dashed(one: Series) -> bool:
    return one.dashed or one.colour >= COLOURS


def _finite(one: Series) -> list[float]:
    return [value for _, value in one.points if value is not None]


def _log_word(y: Axis) -> str:
    return ' <span class="about">logarithmic</span>' if y.log else ""
