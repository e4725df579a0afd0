"""Compare runs: settings that differ, results, charts and the last sample grids."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..metrics.registry import UNIT_METRIC, better, depends_on_range, few_images, label, split_name
from .charts import Series, chart
from .log_columns import Column
from .page import flatten, render, thumbnail, write_page
from .run import axes, logged, state
from .run_folder import Curve, Numbers, RunFolder, ValidationEntry, names, refuse_other_folder
from .text import ABSENT, number, peak, value_range

Row = list[str]
Runs = dict[str, RunFolder]
"""Runs by their names in the tables."""
ALWAYS_DIFFERENT = "train.run"
NO_CURVE: Curve = np.empty((0, 2))


def compare_table(folders: Sequence[Path]) -> list[Row]:
    """Return a table with a column for each run: the settings that differ, then the results.

    Args:
        folders: Two or more run folders.

    Returns:
        Rows of a title and a cell for each run; the first row contains the names of the runs.

    Raises:
        UserError: There are fewer than two folders, or one is not a run folder.
    """
    runs = _read(folders)
    return [["", *runs], *differing_settings(runs), *_results(runs)]


def compare_page(folders: Sequence[Path]) -> str:
    """Return a page that compares runs; arguments and errors as `compare_table`."""
    runs = _read(folders)
    return render(
        "compare.html",
        called=list(runs),
        axes=[{"name": name, "axes": axes(run)} for name, run in runs.items()],
        settings=differing_settings(runs),
        results=_results(runs),
        validations=[
            _metric_chart(runs, name, title, some)
            for name in metrics(runs)
            for title, some in _by_range(runs, name)
        ],
        samples=list(last_samples(runs)),
        unequal=_unequal_steps(runs),
        losses=[_loss_chart(runs, name) for name in loss_names(runs)],
        speed=_chart(runs, "Images per second", lambda run: run.training("images_per_s")),
    )


def write_compare_page(folders: Sequence[Path], path: Path) -> None:
    """Write a page that compares runs. Raises UserError as `compare_table` and `write_page`."""
    write_page(path, compare_page(folders))


def _read(folders: Sequence[Path]) -> Runs:
    """Read run folders, named by the shortest ends of their paths that are unique."""
    if len(folders) < 2:
        raise UserError("name two or more runs to compare, such as runs/one runs/two")
    for folder in folders:
        refuse_other_folder(folder)
    runs = [RunFolder(folder) for folder in folders]
    parts = [run.path.absolute().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        called = ["/".join(one[-depth:]) for one in parts]
        if len(set(called)) == len(called):
            return dict(zip(called, runs, strict=True))
    return {
        f"{run.name} ({i})": run for i, run in enumerate(runs, start=1)
    }  # the same folder twice


def differing_settings(runs: Runs) -> list[Row]:
    settings = [
        dict(flatten({k: v for k, v in run.settings.items() if v})) for run in runs.values()
    ]
    keys = dict.fromkeys(key for one in settings for key in one)
    rows = [[key, *(one.get(key, ABSENT) for one in settings)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1 and row[0] != ALWAYS_DIFFERENT]


def _results(runs: Runs) -> list[Row]:
    def add(title: str, cell: Callable[[RunFolder], str]) -> None:
        rows.append([title, *map(cell, runs.values())])

    rows: list[Row] = []
    add("state", state)
    add("images processed", lambda run: f"{run.images:,}")
    add("last log entry", logged)
    unequal = ", steps differ" if _unequal_steps(runs) else ""
    add(
        f"last sample grid (images){unequal}",
        lambda run: f"{max(run.samples):,}" if run.samples else ABSENT,
    )
    for side in sorted({side for run in runs.values() for side in run.value_ranges}):
        add(f"values of {side.upper()}", partial(_values, side))
    for name in metrics(runs):
        for title, some in _by_range(runs, name):
            add(f"{title}, last (after images)", _only(some, partial(_last, name)))
            if better(name):
                add(f"{title}, best (after images)", _only(some, partial(_best, name)))
    if any(name.startswith("psnr") for name in metrics(runs)):
        add("PSNR", lambda run: "mean over images")
    for name in loss_names(runs):
        add(f"loss {name}", partial(_last_loss, name))
    add("images per second, median", _median_speed)
    add("problems", lambda run: ", ".join(p.name for p in run.active_problems()) or "none")
    return rows


def metrics(runs: Runs) -> list[str]:
    return names(_metrics_of(one) for run in runs.values() for one in run.validations)


def loss_names(runs: Runs) -> list[str]:
    return list(dict.fromkeys(name for run in runs.values() for name in run.loss_names()))


def _metrics_of(one: ValidationEntry) -> Numbers:
    """Return the metrics of the EMA weights, if there are any, else of the raw weights."""
    return one.ema or one.raw


def _last(name: str, run: RunFolder) -> str:
    found = ((_metrics_of(one).get(name), one) for one in reversed(run.validations))
    return next((_cell(name, v, one) for v, one in found if v is not None), ABSENT)


def _best(name: str, run: RunFolder) -> str:
    sign = 1 if better(name).startswith("lower") else -1
    found = [
        (value, one)
        for one in run.validations
        for value in (one.raw.get(name), one.ema.get(name))
        if value is not None
    ]
    if not found:
        return ABSENT
    return _cell(name, *min(found, key=lambda pair: (sign * pair[0], pair[1].images)))


def _cell(name: str, value: float, one: ValidationEntry) -> str:
    few = few_images(name, one.n)
    return f"{number(value)} ({one.images:,}){few and f', {few}'}"


def _last_loss(name: str, run: RunFolder) -> str:
    return _finite_or_absent(run.log.column(f"loss.{name}"), lambda values: values[-1])


def _median_speed(run: RunFolder) -> str:
    return _finite_or_absent(run.log.column("images_per_s"), np.median)


def _finite_or_absent(values: Column, of: Callable[[Column], float]) -> str:
    """Return a statistic of the finite values, as text."""
    finite = values[np.isfinite(values)]
    return number(float(of(finite)) if len(finite) else None)


def _values(side: str, run: RunFolder) -> str:
    """Return the range and the peak of the values of a target domain."""
    return value_range(run.value_ranges[side]) if side in run.value_ranges else ABSENT


def _by_range(runs: Runs, name: str) -> list[tuple[str, list[RunFolder]]]:
    """Divide runs by the range that values of a metric are relative to; return titles for them.

    Values of different ranges are not on one scale, so they have separate rows and charts. Values
    in a unit are divided by the unit.
    """
    metric, direction = split_name(name)
    every = list(runs.values())
    if metric != UNIT_METRIC and not depends_on_range(metric):
        return [(label(name), every)]
    every = [run for run in every if any(name in {**v.raw, **v.ema} for v in run.validations)]
    groups: dict[str, list[RunFolder]] = {}
    titles: dict[str, str] = {}
    for run in every:
        ranges = [
            run.value_ranges[side]
            for side in direction[1:] or sorted(run.value_ranges)
            if side in run.value_ranges
        ]
        peaks = ", ".join(dict.fromkeys(map(peak, ranges))) or "peak unknown"
        units = ", ".join(dict.fromkeys(str(one.get("unit")) for one in ranges))
        key, title = json.dumps(ranges, sort_keys=True), f"{label(name)}, {peaks}"
        if metric == UNIT_METRIC:
            key, title = (
                units,
                label(name).replace("the unit of the files", units or "unknown"),
            )
        groups.setdefault(key, []).append(run)
        titles[key] = title
    if metric != UNIT_METRIC and len(groups) == 1:
        return [(label(name), every)]
    return [(titles[key], some) for key, some in groups.items()]


def _only(
    runs: Sequence[RunFolder], cell: Callable[[RunFolder], str]
) -> Callable[[RunFolder], str]:
    """Return a function of a run that gives a dash for the runs that are not among `runs`."""
    return lambda run: cell(run) if run in runs else ABSENT


def _metric_chart(runs: Runs, name: str, title: str, of: Sequence[RunFolder]) -> str:
    return _chart(
        runs,
        title,
        lambda run: run.metric(name) if run in of else NO_CURVE,
        lambda run: run.ema_metric(name) if run in of else NO_CURVE,
        note=better(name),
    )


def _loss_chart(runs: Runs, name: str) -> str:
    return _chart(runs, name, lambda run: run.training(f"loss.{name}"))


def _chart(runs: Runs, title: str, *curves: Callable[[RunFolder], Curve], note: str = "") -> str:
    """Return a chart with a colour for each run; the second curve, of EMA weights, is dashed."""
    series = [
        Series(who + (", EMA" if ema else ""), curve(run), i, dashed=ema, run=i)
        for i, (who, run) in enumerate(runs.items())
        for ema, curve in zip((False, True), curves, strict=False)
    ]
    return chart(title, series, note)


def _unequal_steps(runs: Runs) -> str:
    """Return a sentence if the last sample grids are of different steps."""
    steps = [max(run.samples) for run in runs.values() if run.samples]
    if len(set(steps)) < 2:
        return ""
    of = ", ".join(f"{step:,}" for step in steps)
    return f"Their steps differ ({of} images processed): compare them with care."


def last_samples(runs: Runs) -> Iterator[dict[str, Any]]:
    """Yield the last sample grid of each run that can be read."""
    for who, run in runs.items():
        for step in reversed(run.samples):
            if grid := thumbnail(run.samples[step]):
                when = f"after {step:,} images"
                yield {"name": who, "when": when, "grid": grid, "columns": run.columns}
                break
