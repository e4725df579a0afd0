"""Runs beside each other: the settings that differ, figures, curves and the last samples."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import UserError
from ..metric_names import better, few_images, label
from .curves import Series, chart
from .folder import (
    Folder,
    Numbers,
    Validation,
    names,
    points,
    read_folder,
    refuse_other_folder,
    standing,
)
from .html import document, escape, figure, picture, rows_table, section, write_page
from .player import columns, image
from .run import LOSSES, flat, moment, state

Row = list[str]
ABSENT = "–"
NO_DIFFERENCE = frozenset({"train.run"})  # is another one in every run


def compare_table(folders: Sequence[Path]) -> list[Row]:
    """Rows of text, each a heading and a cell for each run; the first row names the runs.

    The settings that differ, then figures. Raises UserError for fewer than two runs, or for a
    folder that is none.
    """
    runs = _read(folders)
    return [["", *_names(runs)], *_differing(runs), *_figures(runs)]


def compare_page(folders: Sequence[Path]) -> str:
    """One page of several runs. Raises UserError as `compare_table` does."""
    runs = _read(folders)
    called = _names(runs)
    differing = rows_table(_differing(runs), ["setting", *called], "Settings that differ")
    parts = [
        f"<header><h1>{escape(' · '.join(called))}</h1>"
        f'<p class="about">{len(runs)} runs beside each other.</p></header>',
        section("Settings that differ", differing or "<p>None does.</p>"),
        section("Figures", rows_table(_figures(runs), ["", *called], "Figures of the runs")),
        section("Validation", _grid(_validations(runs, called))),
        section("Samples", _samples(runs, called), f"The last sample grids. {_unequal(runs)}"),
        section("Losses", _grid(_losses(runs, called)), LOSSES),
        section("Speed", _grid(_speeds(runs, called))),
    ]
    return document(f"{' · '.join(called)} – viceversa", "".join(parts))


def write_compare_page(folders: Sequence[Path], path: Path) -> None:
    """Write the page of several runs. Raises UserError, also where it can't be written."""
    write_page(path, compare_page(folders))


def _read(folders: Sequence[Path]) -> list[Folder]:
    if len(folders) < 2:
        raise UserError("name two runs or more to compare, such as runs/one runs/two")
    for folder in folders:
        refuse_other_folder(folder)
    return [read_folder(folder) for folder in folders]


def _names(runs: Sequence[Folder]) -> list[str]:
    """The names of the folders, or as much of their paths as tells them apart."""
    parts = [run.path.absolute().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        called = ["/".join(one[-depth:]) for one in parts]
        if len(set(called)) == len(called):
            return called
    return [f"{run.name} ({i})" for i, run in enumerate(runs, start=1)]  # one of them named twice


def _differing(runs: Sequence[Folder]) -> list[Row]:
    settings = [
        dict(flat({name: values for name, values in run.settings.items() if values}))
        for run in runs
    ]
    keys = dict.fromkeys(key for one in settings for key in one)
    rows = [[key, *(one.get(key, ABSENT) for one in settings)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1 and row[0] not in NO_DIFFERENCE]


def _figures(runs: Sequence[Folder]) -> list[Row]:
    """How far each run is, what it measured, its last losses, its speed and its warnings."""
    rows = [
        ["state", *map(state, runs)],
        ["images seen", *(f"{run.images:,}" for run in runs)],
        ["last line of the log", *map(moment, runs)],
        [
            f"last samples (images){', unequal steps' if _unequal(runs) else ''}",
            *(f"{step:,}" if step else ABSENT for step in _steps(runs)),
        ],
    ]
    for name in dict.fromkeys(one for run in runs for one in _measured(run)):
        rows.append([f"{label(name)}, last (after images)", *(_last(run, name) for run in runs)])
        if better(name):
            rows.append(
                [f"{label(name)}, best (after images)", *(_best(run, name) for run in runs)]
            )
    for name in dict.fromkeys(one for run in runs for one in names(_loss_rows(run))):
        rows.append([f"loss {name}", *(figure(_last_loss(run, name)) for run in runs)])
    rows.append(["images per second, median", *(figure(_speed(run)) for run in runs)])
    rows.append(["warnings", *(", ".join(w.name for w in standing(r)) or "none" for r in runs)])
    return rows


def _measured(run: Folder) -> list[str]:
    return list(dict.fromkeys(name for one in run.validations for name in _values(one)))


def _values(one: Validation) -> Numbers:
    """The averaged weights' values, where there are such: they are the ones that are kept."""
    return one.averaged or one.raw


def _last(run: Folder, name: str) -> str:
    found = [(_values(one).get(name), one) for one in run.validations]
    return next((_cell(name, v, of) for v, of in reversed(found) if v is not None), ABSENT)


def _cell(name: str, value: float, of: Validation) -> str:
    few = few_images(name, of.n)
    return f"{figure(value)} ({of.images:,}){few and f', {few}'}"


def _best(run: Folder, name: str) -> str:
    """The best value, and the images seen by then."""
    found = [
        (value, one)
        for one in run.validations
        for value in (one.raw.get(name), one.averaged.get(name))
        if value is not None
    ]
    if not found:
        return ABSENT
    lower = better(name).startswith("lower")
    value, of = min(found, key=lambda pair: (pair[0] if lower else -pair[0], pair[1].images))
    return _cell(name, value, of)


def _loss_rows(run: Folder) -> dict[int, Numbers]:
    return {line.images: line.losses for line in run.lines}


def _last_loss(run: Folder, name: str) -> float | None:
    return next((one.losses[name] for one in reversed(run.lines) if name in one.losses), None)


def _speed(run: Folder) -> float | None:
    speeds = [line.images_per_s for line in run.lines if line.images_per_s is not None]
    return statistics.median(speeds) if speeds else None


def _grid(charts: Iterator[str]) -> str:
    shown = "".join(charts)
    return f'<div class="charts">{shown}</div>' if shown else ""


def _validations(runs: Sequence[Folder], called: Sequence[str]) -> Iterator[str]:
    """A chart for each metric, with a colour for each run; averaged weights are dashed."""
    for name in dict.fromkeys(one for run in runs for one in _measured(run)):
        series = []
        for i, (run, who) in enumerate(zip(runs, called, strict=True)):
            raw = {one.images: one.raw for one in run.validations}
            averaged = {one.images: one.averaged for one in run.validations if one.averaged}
            series.append(Series(who, points(raw, name), i))
            series.append(Series(f"{who}, averaged", points(averaged, name), i, dashed=True))
        yield chart(label(name), series, better(name))


def _losses(runs: Sequence[Folder], called: Sequence[str]) -> Iterator[str]:
    rows = [_loss_rows(run) for run in runs]
    for name in dict.fromkeys(one for each in rows for one in names(each)):
        series = [Series(who, points(rows[i], name), i) for i, who in enumerate(called)]
        yield chart(name, series)


def _speeds(runs: Sequence[Folder], called: Sequence[str]) -> Iterator[str]:
    yield chart("Images per second", [
        Series(who, [(line.images, line.images_per_s) for line in run.lines], i)
        for i, (run, who) in enumerate(zip(runs, called, strict=True))
    ])  # fmt: skip


def _steps(runs: Sequence[Folder]) -> list[int]:
    """Images processed by the last sample grid of each run; 0 for a run without."""
    return [max(run.sheets, default=0) for run in runs]


def _unequal(runs: Sequence[Folder]) -> str:
    """A sentence if the last sample grids are of unequal steps."""
    steps = [step for step in _steps(runs) if step]
    if len(set(steps)) < 2:
        return ""
    of = ", ".join(f"{step:,}" for step in steps)
    return f"They are of unequal steps ({of} images processed): compare them with care."


def _samples(runs: Sequence[Folder], called: Sequence[str]) -> str:
    shown = []
    for run, who in zip(runs, called, strict=True):
        # The newest sheet may be half written yet.
        found = ((at, picture(run.sheets[at])) for at in reversed(run.sheets))
        at, sheet = next(((at, one) for at, one in found if one is not None), (0, None))
        if sheet is not None:
            alt = f"Samples of {who} after {at:,} images"
            shown.append(
                f"<figure><figcaption><b>{escape(who)}</b> after {at:,} images</figcaption>"
                f"{image(sheet, alt, columns(run))}</figure>"
            )
    return f'<div class="beside">{"".join(shown)}</div>' if shown else ""
