"""Charts: positions of ticks, points and gaps, and charts of extreme numbers."""

from __future__ import annotations

import html
import itertools
import json
import math
import re

import pytest

from viceversa.reports.charts import (
    HEIGHT,
    MAX_POINTS,
    WIDTH,
    Mark,
    Series,
    chart,
    thinned,
    x_axis,
    y_axis,
)


def drawn(text: str) -> list[list[tuple[float, float]]]:
    """Return the points of each continuous part of every line."""
    paths = re.findall(r'<path class="line[^"]*" d="([^"]*)"', text)
    pieces = [piece for path in paths for piece in path.split("M")[1:] if "h0" not in piece]
    number = r"(-?[\d.]+) (-?[\d.]+)"
    return [[(float(x), float(y)) for x, y in re.findall(number, piece)] for piece in pieces]


def values(text: str) -> list[tuple[str, list[float], list[float | None]]]:
    """Return name, images and values of each line."""
    found = re.findall(r'data-name="([^"]*)" data-x="([^"]*)" data-y="([^"]*)"', text)
    return [(html.unescape(name), json.loads(x), json.loads(y)) for name, x, y in found]


def test_line_goes_through_its_points() -> None:
    text = chart("L", [Series("g", [(0, 0.0), (50, 5.0), (100, 10.0)])])
    axis = y_axis([0.0, 10.0])
    assert axis.low == 0 and axis.high == pytest.approx(10.5)
    positions = [(0.0, HEIGHT), (WIDTH / 2, HEIGHT * 5.5 / 10.5), (WIDTH, HEIGHT * 0.5 / 10.5)]
    assert drawn(text) == [[(x, round(y, 1)) for x, y in positions]]
    assert values(text) == [("g", [0, 50, 100], [0, 5, 10])]


def test_non_finite_value_is_a_gap() -> None:
    points = [(0, 1.0), (1, 2.0), (2, None), (3, 3.0), (4, 4.0)]
    text = chart("L", [Series("g", points)])
    assert [len(piece) for piece in drawn(text)] == [2, 2]
    assert values(text)[0][2] == [1, 2, None, 3, 4]
    whole = [(x, y if y is not None else 2.5) for x, y in points]
    assert [len(piece) for piece in drawn(chart("L", [Series("g", whole)]))] == [5]


def test_point_between_gaps_is_a_dot() -> None:
    assert "h0" in chart("L", [Series("g", [(0, None), (1, 2.0), (2, None)])])
    assert "h0" not in chart("L", [Series("g", [(0, None), (1, 2.0), (2, 1.0)])])


def test_isolated_points_have_markers() -> None:
    points = [(0, None), (1, 2.0), (2, None), (3, 3.0), (4, 4.0)]
    (dots,) = re.findall(r'<path class="dots c0" d="([^"]*)"', chart("L", [Series("g", points)]))
    y = HEIGHT * (1 - y_axis([2.0, 4.0]).position(2.0))
    assert dots == f"M{WIDTH / 4:.1f} {y:.1f}h0"
    text = chart("L", [Series("g", points, dashed=True), Series("h", [(2, 2.5)], 1)])
    assert re.findall(r'<path class="dots (\w+)"', text) == ["c0", "c1"]
    assert "dots" not in chart("L", [Series("g", points[3:])])


def test_single_point_is_in_the_middle() -> None:
    assert x_axis([40.0]).position(40.0) == x_axis([40.0, 40.0]).position(40.0) == 0.5
    assert x_axis([20.0, 40.0]).position(40.0) == 1
    assert x_axis([0.0]).high > 0
    for points in ([(100, 3.0)], [(50, None), (100, 3.0)]):
        text = chart("L", [Series("g", points), Series("h", [(100, 4.0)])])
        assert re.findall(r"M([\d.]+) [\d.]+h0", text) and 'data-high="200.0"' in text
    assert 'data-high="100.0"' in chart("L", [Series("g", [(50, 3.0), (100, None)])])


def test_no_chart_without_finite_values() -> None:
    assert chart("L", []) == chart("L", [Series("g", [(0, None)])]) == ""


def test_long_line_is_drawn_by_means_and_extremes() -> None:
    points = [(i, float(i % 2)) for i in range(40 * MAX_POINTS)]
    points[1234] = (1234, 7.0)  # a single peak
    line = thinned(Series("g", points))
    assert line.low is not None and line.high is not None and len(line.y) == MAX_POINTS
    assert line.x[:2].tolist() == [19.5, 59.5]
    peak = 1234 // 40
    assert line.y[peak] == pytest.approx(0.5 + 7 / 40) and line.high[peak] == 7
    others = [i for i in range(MAX_POINTS) if i != peak]
    assert (
        (line.y[others] == 0.5).all() and (line.low == 0).all() and (line.high[others] == 1).all()
    )
    text = chart("L", [Series("g", points)])
    assert text.count('class="band c0"') == 1 and max(json.loads(_attribute(text, "max"))) == 7
    assert y_axis([0.0, 7.0]).high == pytest.approx(y_axis(line.finite()).high)
    assert "<b>1</b>" in text  # the last value, not the last mean


def _attribute(text: str, name: str) -> str:
    found = re.search(f'data-{name}="([^"]*)"', text)
    assert found is not None
    return found[1]


def test_short_line_has_no_band() -> None:
    points = [(i, float(i % 2)) for i in range(MAX_POINTS)]
    assert thinned(Series("g", points)).low is None
    text = chart("L", [Series("g", points)])
    assert "band" not in text and "data-max" not in text


def test_bands_of_many_lines_are_left_out() -> None:
    points = [(i, float(i % 2)) for i in range(10 * MAX_POINTS)]
    for count, bands in ((8, 8), (9, 0)):
        text = chart("L", [Series(str(i), points, i) for i in range(count)])
        assert text.count('class="line') == count and text.count('class="band') == bands


def test_means_leave_out_non_finite_values() -> None:
    points: list[tuple[float, float | None]] = [(i, None if i % 2 else 3.0) for i in range(4000)]
    assert set(thinned(Series("g", points)).y.tolist()) == {3.0}
    dead: list[tuple[float, float | None]] = [(i, 1.0 if i < 2000 else None) for i in range(4000)]
    ((_, _, y),) = values(chart("L", [Series("g", dead)]))
    assert y == [1.0] * 200 + [None] * 200


def test_means_of_the_largest_numbers_are_finite_or_gaps() -> None:
    points = [(i, 1.7e308 if i % 3 else -1.7e308) for i in range(4000)]
    assert "nan" not in (text := chart("L", [Series("g", points), Series("h", [(0, 1.0)])]))
    assert "inf" not in text and text.count("<path") >= 2


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 5, 10]),
        (0.26, 0.42, [0.3, 0.35, 0.4]),
        (-3, 3, [-2, 0, 2]),
        (12.0, 14.7, [12, 13, 14]),
        (0, 0.0003, [0, 0.0001, 0.0002, 0.0003]),
        (0.326, 0.346, [0.325, 0.33, 0.335, 0.34, 0.345]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert y_axis([low, high]).ticks == pytest.approx(ticks)


@pytest.mark.parametrize(
    "values",
    [(0.12431, 0.12433), (25.96445, 25.96475), (99991.0, 99992.0), (3e6, 3e6 + 1), (1, 1 + 1e-8)],
)
def test_labels_of_neighbouring_ticks_differ(values: tuple[float, float]) -> None:
    axis = y_axis(values)
    labels = [axis.label(tick) for tick in axis.ticks]
    assert len(set(labels)) == len(labels) > 2
    sizes = {"k": 1e3, "M": 1e6}
    numbers = [float(text.rstrip("kM")) * sizes.get(text[-1], 1) for text in labels]
    gap = axis.ticks[1] - axis.ticks[0]
    assert numbers == pytest.approx(axis.ticks, rel=0, abs=gap / 500)
    assert axis.characters == max(map(len, labels))


def test_labels_of_far_ticks_are_short() -> None:
    assert [y_axis([0, 10]).label(tick) for tick in y_axis([0, 10]).ticks] == ["0", "5", "10"]
    axis = y_axis([0.26, 0.42])
    assert [axis.label(tick) for tick in axis.ticks] == ["0.3", "0.35", "0.4"]


def test_values_of_a_short_axis_keep_their_differences() -> None:
    """The page draws the chart again from these values."""
    points = [(0, 0.1243123), (1, 0.1243124), (2, 0.1243126)]
    ((_, _, kept),) = values(chart("L", [Series("g", points)]))
    assert kept == pytest.approx([y for _, y in points], rel=0, abs=1e-9)
    ((_, _, rounded),) = values(chart("L", [Series("g", [(0, 1 / 3), (1, 1.0)])]))
    assert rounded == [0.33333, 1]


def test_axis_of_several_decades_is_logarithmic() -> None:
    axis = y_axis([1e-4, 3.0])
    assert axis.log and axis.ticks == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    at = [axis.position(tick) for tick in axis.ticks]
    assert at[2] - at[1] == pytest.approx(at[4] - at[3])
    assert y_axis([1.1, 42.0]).ticks == pytest.approx([1, 2, 5, 10, 20, 50])
    assert not y_axis([0.1, 1.0]).log and not y_axis([-1.0, 1e4]).log and not y_axis([0, 1e4]).log
    hidden = 'logarithmic" hidden>'
    assert hidden not in chart("L", [Series("g", [(0, 1e-4), (1, 3.0)])])
    assert hidden in chart("L", [Series("g", [(0, 1.0), (1, 3.0)])])


def test_x_axis_begins_at_zero() -> None:
    axis = x_axis([2000, 8000])
    assert (axis.low, axis.high) == (0, 8000) and axis.ticks == [0, 2000, 4000, 6000, 8000]


EXTREMES = [0.0, 1.0, -1.0, 5e-324, -5e-324, 1e-300, 1.7e308, -1.7e308, 1e-9, 1 + 1e-15, 1e15]


@pytest.mark.slow
@pytest.mark.parametrize("pair", list(itertools.product(EXTREMES, repeat=2)))
def test_chart_of_extreme_numbers(pair: tuple[float, float]) -> None:
    text = chart("L", [Series("g", [(0, pair[0]), (1e12, pair[1])])], marks=[Mark(1, pair[0], "m")])
    points = [point for piece in drawn(text) for point in piece]
    assert len(points) == 2
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert "nan" not in text and "inf" not in text
    assert 0 <= len(y_axis(list(pair)).ticks) <= 20


def test_mark_is_at_its_value() -> None:
    text = chart("L", [Series("g", [(0, 0.0), (100, 10.0)])], marks=[Mark(50, 5.0, "best: <5>")])
    (mark,) = re.findall(r'<span class="mark"[^>]*>', text)
    assert 'title="best: &lt;5&gt;"' in mark and "left:50.00%" in mark
    assert f"top:{100 * 5.5 / 10.5:.2f}%" in mark


def test_legend_and_label_contain_first_and_last_value() -> None:
    text = chart("L", [Series("g", [(0, 2.0), (1, math.pi), (2, None)])])
    assert "<b>3.142</b>" in text and "g: from 2 to 3.142" in text
