"""A run's page: everything that its folder tells, as one file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from ..metric_names import WAYS, better, few_images, label, parted
from .curves import Mark, Series, chart
from .folder import (
    Folder,
    Found,
    Numbers,
    epochs,
    finished,
    names,
    past,
    points,
    read_folder,
    standing,
    total_images,
)
from .html import document, escape, figure, folded, rows_table, section, write_page
from .player import player

NAME = "report.html"
LOSSES = (
    "Each point is the mean since the one before, times the loss's weight. What begins with g_ is "
    "the generator's to minimise, with d_ the discriminator's. Lower need not look better."
)


def run_page(folder: Path) -> str:
    """A run's page, of what lies in its folder; never raises for what is missing or cut off."""
    run = read_folder(folder)
    parts = [
        _headline(run),
        section("Health", _health(run)),
        section("Samples", player(run)),
        section("Losses", _grid(_losses(run)), LOSSES),
        section("Validation", _grid(_validation(run)), _measured_on(run)),
        section("Gradients, rate and speed", _grid(_pace(run))),
        section("Settings", settings_tables(run)),
        section("Machine", rows_table(_machine(run), caption="Where it ran")),
    ]
    return document(f"{run.name} – viceversa", "".join(parts))


def write_run_page(folder: Path) -> Path:
    """Write a run's page into its folder and say where. Raises UserError where it can't be."""
    path = folder / NAME
    write_page(path, run_page(folder))
    return path


def _headline(run: Folder) -> str:
    total = total_images(run)
    tiles = [("method", run.method or "unknown"), ("images seen", f"{run.images:,}")]
    if total is not None:
        about = "" if total[1] or finished(run) else "about "
        tiles[-1] = ("images seen", f"{run.images:,} of {about}{total[0]:,}")
    if run.lines:
        planned = epochs(run)
        of = f" of {planned:,}" if planned else ""
        tiles.append(("epoch", f"{run.lines[-1].epoch:,}{of}"))
    tiles += [("state", state(run)), *best_tile(run)]
    shown = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in tiles)
    bar = ""
    if total is not None:
        share = min(1.0, run.images / total[0])
        bar = f'<progress max="1" value="{share:.4f}" aria-label="images seen"></progress>'
    when = f'<p class="about">Last line of the log: {moment(run)}.</p>'
    return (
        f'<header>\n<h1>{escape(run.name)}</h1>\n{bar}\n<dl class="tiles">{shown}</dl>\n'
        f"{when if run.written is not None else ''}</header>\n"
    )


def state(run: Folder) -> str:
    """Where a run stands, in words."""
    if not run.lines:
        return "no line of the log yet"
    return "finished" if finished(run) else "not finished"


def moment(run: Folder) -> str:
    """When the log's last line was written, by the clock of this machine."""
    if run.written is None:
        return "never"
    return datetime.fromtimestamp(run.written).astimezone().strftime("%Y-%m-%d %H:%M")


def best_tile(run: Folder) -> list[tuple[str, str]]:
    """The best value so far of the metric that chooses, and where it was."""
    last = next((one for one in reversed(run.validations) if one.best), None)
    if last is None or last.best is None:
        return []
    best = last.best
    whose = f", {best.weights} weights" if best.weights not in ("", "raw") else ""
    few = few_images(last.chosen_by, last.n)
    told = f"{figure(best.value)} after {best.images:,} images{whose}{few and f' ({few})'}"
    return [(f"best {label(last.chosen_by)}", told)]


def _health(run: Folder) -> str:
    now, over = standing(run), past(run)
    shown = "".join(_warning(one) for one in now)
    if not now:
        again = " now" if over else ""
        shown = f'<p class="well">Nothing was seen{again} that would need attention.</p>'
    if over:
        told = "".join(
            f"<li><b>{escape(one.name)}</b>: since {one.since:,} images, over after "
            f"{one.images:,}. {escape(one.saw)}</li>"
            for one in over
        )
        shown += folded(f"What is over ({len(over)})", f"<ul>{told}</ul>")
    return shown


def _warning(one: Found) -> str:
    return (
        f'<div class="warning"><h3>{escape(one.name)}</h3>'
        f'<p>{escape(one.saw)} <span class="about">Since {one.since:,} images.</span></p>'
        f"<p><b>What to try:</b> {escape(one.advice)}</p></div>\n"
    )


def _grid(charts: Iterator[str]) -> str:
    shown = "".join(charts)
    return f'<div class="charts">{shown}</div>' if shown else ""


def _losses(run: Folder) -> Iterator[str]:
    """A chart for each player: the names of its losses begin with its letter."""
    rows = {line.images: line.losses for line in run.lines}
    seen = names(rows)
    groups = {"Generator": "g_", "Discriminator": "d_"}
    for title, start in groups.items():
        yield chart(title, lines_of(rows, [one for one in seen if one.startswith(start)]))
    others = [one for one in seen if not one.startswith(tuple(groups.values()))]
    yield chart("Other values", lines_of(rows, others))


def lines_of(rows: dict[int, Numbers], chosen: Sequence[str]) -> list[Series]:
    return [Series(name, points(rows, name), i) for i, name in enumerate(chosen)]


def _validation(run: Folder) -> Iterator[str]:
    """A chart for each metric, of one way or of both; the best value is marked."""
    raw = {one.images: one.raw for one in run.validations}
    averaged = {one.images: one.averaged for one in run.validations if one.averaged}
    last = next((one for one in reversed(run.validations) if one.best), None)
    charts: dict[str, list[str]] = {}
    for name in dict.fromkeys([*names(raw), *names(averaged)]):
        charts.setdefault(parted(name)[0], []).append(name)
    for metric, of in charts.items():
        marks = []
        if last is not None and last.best is not None and last.chosen_by in of:
            told = f"best: {figure(last.best.value)} after {last.best.images:,} images"
            marks = [Mark(last.best.images, last.best.value, told)]
        few = few_images(metric, run.validations[-1].n)
        title = label(metric if len(of) > 1 else of[0]) + (few and f" ({few})")
        yield chart(title, list(_of_metric(raw, averaged, of)), better(metric), marks)


def _of_metric(
    raw: dict[int, Numbers], averaged: dict[int, Numbers], of: Sequence[str]
) -> Iterator[Series]:
    """The lines of a metric: of weights and their average; of each way, where it has both."""
    for i, name in enumerate(of):
        way = WAYS.get(parted(name)[1], "both ways") if len(of) > 1 else ""
        yield Series(way or "weights", points(raw, name), i)
        if averaged:
            who = f"{way}, averaged weights" if way else "averaged weights"
            yield Series(who, points(averaged, name), i if way else 1, dashed=True)


def _measured_on(run: Folder) -> str:
    if not run.validations:
        return ""
    last = run.validations[-1]
    held = f"Measured on {last.n:,} images" if last.n else "Measured on images"
    return f"{held} of the split {last.split}." if last.split else f"{held} held out."


def _pace(run: Folder) -> Iterator[str]:
    rows = {line.images: line.gradients for line in run.lines}
    yield chart("Norm of the gradients", lines_of(rows, names(rows)))
    yield chart("Learning rate", [Series("rate", [(one.images, one.lr) for one in run.lines])])
    speeds = [(one.images, one.images_per_s) for one in run.lines]
    yield chart(
        "Speed", [Series("images per second", speeds)], "with its pauses to validate and sample"
    )


def settings_tables(run: Folder) -> str:
    """Every setting, section by section."""
    return "".join(
        folded(name, rows_table(flat(values), caption=f"Settings of {name}"))
        for name, values in run.settings.items()
        if values
    )


def flat(values: dict[str, object], above: str = "") -> list[tuple[str, str]]:
    """Settings as (key, value in words), those of tables within them as `table.key`."""
    told: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict) and value and above.count(".") < 4:
            told += flat(value, f"{above}{key}.")
        else:
            told.append((f"{above}{key}", value if isinstance(value, str) else _plain(value)))
    return told


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if value != {} else "–"


def _machine(run: Folder) -> list[tuple[str, str]]:
    told = []
    for key, value in flat(run.machine):
        bytes_ = key.endswith("_bytes") and value.isdecimal()
        words = key.removesuffix("_bytes").replace("_", " ")
        told.append((words, f"{int(value) / 2**30:.1f} GiB" if bytes_ else value))
    return told
