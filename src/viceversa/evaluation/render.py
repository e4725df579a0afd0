"""Page of an evaluation, with its best, median and worst cases as images."""

from __future__ import annotations

import math
from pathlib import Path

from ..images import write
from ..metrics.registry import (
    DIRECTIONS,
    UNIT_METRIC,
    better,
    few_images,
    higher_is_better,
    label,
    unit_of,
)
from ..reports.evaluation import Case, DirectionResult, write_evaluation_page
from ..reports.text import number
from .results import CaseImages, DirectionMetrics, Evaluation

KINDS = ("best", "median", "worst")
CASES = 3  # of each kind, if there are enough images
RANKED_BY = ("lpips", "l1", "cycle", "edge_correlation")  # the first of these that was computed


def write_page(result: Evaluation, folder: Path) -> Path:
    """Write index.html and the images in cases/, and return the path of the page."""
    path = folder / "index.html"
    directions = [_direction(metrics, result, folder) for metrics in result.directions]
    write_evaluation_page(path, result.title, result.notes, directions, result.protocol)
    return path


def _direction(metrics: DirectionMetrics, result: Evaluation, folder: Path) -> DirectionResult:
    images = result.cases(metrics)
    metric = next((name for name in RANKED_BY if name in metrics.values), None)
    title = result.heading or DIRECTIONS[metrics.direction]
    return DirectionResult(
        title=f"{title}: {metrics.description}",
        values=f"{_sentence(str(metrics.range))} Confidence intervals: bootstrap over the images.",
        numbers=_numbers(metrics),
        cases_title=f"{title}: best, median and worst by {label(metric or '')}",
        cases={} if metric is None else _cases(metrics, metric, images, folder),
        columns=images.columns,
        patch_maps=images.patch_maps,
    )


def _numbers(metrics: DirectionMetrics) -> list[tuple[str, ...]]:
    """Return the rows of the table: name, value, unit, interval, which is better, and a note."""
    rows: list[tuple[str, ...]] = []
    for name, (mean, low, high) in metrics.intervals.items():
        unit = metrics.range.unit if name == UNIT_METRIC else unit_of(name)
        interval = f"{number(low)} to {number(high)}"
        rows.append((label(name), number(mean), unit, interval, _better(name), ""))
    for name, value in metrics.sets.items():
        note = few_images(name, metrics.smaller_set)
        rows.append((label(name), number(value), unit_of(name), "", _better(name), note))
    return rows


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _better(name: str) -> str:
    return better(name).removesuffix(" is better")


def _cases(
    metrics: DirectionMetrics, metric: str, images: CaseImages, folder: Path
) -> dict[str, list[Case]]:
    """Write the cases as image files, ranked by a metric."""
    values = metrics.values[metric]
    order = sorted(range(len(values)), key=lambda i: _quality(metric, values[i]), reverse=True)
    count = min(CASES, max(1, len(order) // len(KINDS)))  # no image is a case of two kinds
    best, rest = order[:count], order[count:]
    rest, worst = rest[:-count], rest[-count:]
    middle = max(0, (len(rest) - count) // 2)
    kinds = dict(zip(KINDS, (best, rest[middle : middle + count], worst), strict=True))
    cases: dict[str, list[Case]] = {}
    for kind, indices in kinds.items():
        for rank, index in enumerate(indices, start=1):
            path = folder / "cases" / f"{metrics.direction}-{kind}-{rank}.png"
            write(path, images.draw(index))
            text = f"{label(metric)} {number(values[index])}"
            cases.setdefault(kind, []).append(Case(path, metrics.files[index].source, text))
    return cases


def _quality(metric: str, value: float) -> float:
    """Return a number that grows as a metric gets better; NaN is the worst."""
    sign = 1 if higher_is_better(metric) else -1
    return -math.inf if math.isnan(value) else sign * value
