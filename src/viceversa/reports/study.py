"""The page of many runs: statistics of their variants, and charts with a line for each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..metrics.registry import better, label
from .charts import Series, chart
from .compare import differing_settings, last_samples, loss_names, metrics
from .page import render, write_page
from .run import axes, state
from .run_folder import Curve, RunFolder
from .text import ABSENT

MAX_GRIDS = 8  # sample grids on the page
OF_A_RUN = ("train.run", "train.seed", "data.path")  # settings that differ within a variant


def study_page(
    variants: Mapping[str, Sequence[Path]], table: Sequence[Sequence[str]], notes: Sequence[str]
) -> str:
    """Return a page that compares variants.

    Args:
        variants: Run folders of each variant.
        table: Statistics: a header, and rows of text; may be empty.
        notes: Notes on them.
    """
    runs = {name: [RunFolder(path) for path in paths] for name, paths in variants.items()}
    first = {name: some[0] for name, some in runs.items()}
    every = {f"{name}, {_part(run.path)}": run for name, some in runs.items() for run in some}
    return render(
        "study.html",
        called=list(runs),
        axes=[{"name": name, "axes": _mean_axes(some)} for name, some in runs.items()],
        count=len(every),
        table=[list(row) for row in table],
        notes=list(notes),
        settings=[row for row in differing_settings(first) if row[0] not in OF_A_RUN],
        runs=[_run_row(name, one) for name, one in every.items()],
        validations=[
            _chart(runs, label(name), partial(_metric, name), better(name))
            for name in metrics(every)
        ],
        losses=[_chart(runs, name, partial(_loss, name)) for name in loss_names(every)],
        samples=list(last_samples(dict(list(first.items())[:MAX_GRIDS]))),
    )


def write_study_page(
    variants: Mapping[str, Sequence[Path]],
    table: Sequence[Sequence[str]],
    notes: Sequence[str],
    path: Path,
) -> None:
    """Write the page. Raises UserError if it cannot be written."""
    write_page(path, study_page(variants, table, notes))


def _part(path: Path) -> str:
    """Return the fold and seed of a run of a study, or the name of a run folder."""
    parts = path.absolute().parts[-2:]
    return "/".join(parts) if parts[0].startswith("fold-") else parts[-1]


def _metric(name: str, run: RunFolder) -> Curve:
    """Return the metric of the EMA weights if there are any, else of the raw weights."""
    ema = run.ema_metric(name)
    return ema if np.isfinite(ema[:, 1]).any() else run.metric(name)


def _loss(name: str, run: RunFolder) -> Curve:
    return run.training(f"loss.{name}")


def _chart(
    runs: Mapping[str, Sequence[RunFolder]],
    title: str,
    curve: Callable[[RunFolder], Curve],
    note: str = "",
) -> str:
    """Return a chart with a line for each variant: the mean of its runs."""
    series = [
        Series(name, mean_curve([curve(run) for run in some]), i, run=i)
        for i, (name, some) in enumerate(runs.items())
    ]
    return chart(title, series, note)


def mean_curve(curves: Sequence[ArrayLike]) -> Curve:
    """Return the mean of curves where at least half of them have a value."""
    points = np.concatenate(
        [np.empty((0, 2)), *(np.asarray(one, float).reshape(-1, 2) for one in curves)]
    )
    points = points[np.isfinite(points[:, 1])]
    x, at = np.unique(points[:, 0], return_inverse=True)
    counts, sums = np.bincount(at), np.bincount(at, points[:, 1])
    often = 2 * counts >= len(curves)
    return np.column_stack([x[often], sums[often] / counts[often]])


def _mean_axes(runs: Sequence[RunFolder]) -> dict[str, list[float]]:
    """Return the epochs and the mean training time of runs, as `axes`."""
    every = [axes(run) for run in runs]
    curves: dict[str, list[float]] = {}
    for name in every[0]:
        points = [np.reshape(one[name], (-1, 2)) for one in every if name in one]
        if len(points) == len(every):
            images = min(points, key=lambda one: one[-1, 0])[:, 0]
            values = np.mean([np.interp(images, *one.T) for one in points], axis=0)
            curves[name] = np.round(np.column_stack([images, values]), 1).ravel().tolist()
    return curves


def _run_row(name: str, run: RunFolder) -> list[str]:
    problems = ", ".join(problem.name for problem in run.active_problems()) or ABSENT
    return [name, state(run), f"{run.images:,}", problems]
