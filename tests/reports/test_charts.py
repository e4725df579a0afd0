"""Charts: where ticks, points and gaps lie, and that no numbers break them."""

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
    """The pieces of every line, as the points they go through."""
    paths = re.findall(r'<path class="line[^"]*" d="([^"]*)"', text)
    pieces = [piece for path in paths for piece in path.split("M")[1:] if "h0" not in piece]
    number = r"(-?[\d.]+) (-?[\d.]+)"
    return [[(float(x), float(y)) for x, y in re.findall(number, piece)] for piece in pieces]


def values(text: str) -> list[tuple[str, list[float], list[float | None]]]:
    """What whoever points at a line is told: its name, where, and the values."""
    found = re.findall(r'data-name="([^"]*)" data-x="([^"]*)" data-y="([^"]*)"', text)
    return [(html.unescape(name), json.loads(x), json.loads(y)) for name, x, y in found]


def test_a_line_goes_through_its_points() -> None:
    text = chart("L", [Series("g", [(0, 0.0), (50, 5.0), (100, 10.0)])])
    axis = y_axis([0.0, 10.0])
    assert axis.low == 0 and axis.high == pytest.approx(10.5)
    places = [(0.0, HEIGHT), (WIDTH / 2, HEIGHT * 5.5 / 10.5), (WIDTH, HEIGHT * 0.5 / 10.5)]
    assert drawn(text) == [[(x, round(y, 1)) for x, y in places]]
    assert values(text) == [("g", [0, 50, 100], [0, 5, 10])]


def test_what_is_not_finite_is_a_gap() -> None:
    points = [(0, 1.0), (1, 2.0), (2, None), (3, 3.0), (4, 4.0)]
    text = chart("L", [Series("g", points)])
    assert [len(piece) for piece in drawn(text)] == [2, 2]
    assert values(text)[0][2] == [1, 2, None, 3, 4]
    whole = [(x, y if y is not None else 2.5) for x, y in points]
    assert [len(piece) for piece in drawn(chart("L", [Series("g", whole)]))] == [5]


def test_a_point_between_gaps_is_a_dot() -> None:
    assert "h0" in chart("L", [Series("g", [(0, None), (1, 2.0), (2, None)])])
    assert "h0" not in chart("L", [Series("g", [(0, None), (1, 2.0), (2, 1.0)])])


def test_nothing_to_draw_is_no_chart() -> None:
    assert chart("L", []) == chart("L", [Series("g", [(0, None)])]) == ""


def test_a_long_line_is_drawn_by_means() -> None:
    points = [(i, float(i % 2)) for i in range(40 * MAX_POINTS)]
    thin = thinned(points)
    assert len(thin) == MAX_POINTS
    assert all(y == pytest.approx(0.5) for _, y in thin)
    assert [x for x, _ in thin[:2]] == pytest.approx([19.5, 59.5])
    assert thinned(points[:MAX_POINTS]) == points[:MAX_POINTS]


def test_means_leave_out_what_is_not_finite() -> None:
    points: list[tuple[float, float | None]] = [(i, None if i % 2 else 3.0) for i in range(4000)]
    assert {y for _, y in thinned(points)} == {3.0}
    dead: list[tuple[float, float | None]] = [(i, 1.0 if i < 2000 else None) for i in range(4000)]
    assert [y for _, y in thinned(dead)] == [1.0] * 200 + [None] * 200


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


def test_decades_make_a_logarithm() -> None:
    axis = y_axis([1e-4, 3.0])
    assert axis.log and axis.ticks == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    at = [axis.position(tick) for tick in axis.ticks]
    assert at[2] - at[1] == pytest.approx(at[4] - at[3])
    assert y_axis([1.1, 42.0]).ticks == pytest.approx([1, 2, 5, 10, 20, 50])
    assert not y_axis([0.1, 1.0]).log and not y_axis([-1.0, 1e4]).log and not y_axis([0, 1e4]).log
    assert "logarithmic" in chart("L", [Series("g", [(0, 1e-4), (1, 3.0)])])
    assert "logarithmic" not in chart("L", [Series("g", [(0, 1.0), (1, 3.0)])])


def test_images_begin_at_none() -> None:
    axis = x_axis([2000, 8000])
    assert (axis.low, axis.high) == (0, 8000) and axis.ticks == [0, 2000, 4000, 6000, 8000]


EXTREMES = [0.0, 1.0, -1.0, 5e-324, -5e-324, 1e-300, 1.7e308, -1.7e308, 1e-9, 1 + 1e-15, 1e15]


@pytest.mark.parametrize("pair", list(itertools.product(EXTREMES, repeat=2)))
def test_no_numbers_break_a_chart(pair: tuple[float, float]) -> None:
    text = chart("L", [Series("g", [(0, pair[0]), (1e12, pair[1])])], marks=[Mark(1, pair[0], "m")])
    points = [place for piece in drawn(text) for place in piece]
    assert len(points) == 2
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert "nan" not in text and "inf" not in text
    assert 0 <= len(y_axis(list(pair)).ticks) <= 20


def test_the_best_is_marked_where_it_is() -> None:
    text = chart("L", [Series("g", [(0, 0.0), (100, 10.0)])], marks=[Mark(50, 5.0, "best: <5>")])
    (mark,) = re.findall(r'<span class="mark"[^>]*>', text)
    assert 'title="best: &lt;5&gt;"' in mark and "left:50.00%" in mark
    assert f"top:{100 * 5.5 / 10.5:.2f}%" in mark


def test_the_legend_and_the_spoken_text_tell_first_and_last() -> None:
    text = chart("L", [Series("g", [(0, 2.0), (1, math.pi), (2, None)])])
    assert "<b>3.142</b>" in text and "g: from 2 to 3.142" in text
