"""Page of a run, with the contents of its folder, as one HTML file."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import run_log
from ..metrics.registry import DIRECTIONS, better, few_images, label, split_name
from .charts import MAX_POINTS, Mark, Series, chart
from .log_columns import LogColumns
from .page import Thumbnail, flatten, render, thumbnail, write_page
from .run_folder import RunFolder, integer, names, table
from .text import duration, number, scaled_range

FILE_NAME = "report.html"
MAX_GRIDS = (24, 12, 6, 3, 2)  # sample grids on a page; fewer if the page would be too large
MAX_CHARACTERS = 7_500_000  # of all images on a page


class Sample(NamedTuple):
    """A sample grid and the patch maps of its first row."""

    images: int
    grid: Thumbnail
    patch_map: Thumbnail | None


class RunPage:
    """The page of a run folder. Each call reads what was appended to the log since the last one."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._log = LogColumns(folder / run_log.NAME)

    def html(self) -> str:
        """Return the page; missing and damaged files are left out."""
        run = RunFolder(self.folder, self._log)
        return render(
            "run.html",
            run=run,
            tiles=[*_progress_tiles(run), *_best_tile(run)],
            logged=logged(run),
            axes=axes(run),
            data=data_rows(run),
            models=models(run),
            command=command(run),
            samples=samples(run),
            losses=list(_loss_charts(run)),
            validations=list(_validation_charts(run)),
            validated_on=_validated_on(run),
            optimization=list(_optimization_charts(run)),
            settings={name: flatten(values) for name, values in run.settings.items() if values},
            machine=list(_machine(run)),
        )

    def write(self) -> Path:
        """Write the page into the folder and return its path.

        Raises:
            UserError: The file cannot be written.
        """
        path = self.folder / FILE_NAME
        write_page(path, self.html())
        return path


def run_page(folder: Path) -> str:
    """Return the page of a run folder; missing and damaged files are left out."""
    return RunPage(folder).html()


def write_run_page(folder: Path) -> Path:
    """Write the page of a run into its folder and return its path.

    Raises:
        UserError: The file cannot be written.
    """
    return RunPage(folder).write()


def _progress_tiles(run: RunFolder) -> Iterator[tuple[str, str]]:
    method = table(run.settings.get("method")).get("name")
    epochs = integer(table(run.settings.get("train")).get("epochs"))
    yield "method", str(method or "unknown")
    yield "images processed", _of(run.images, run.total_images)
    if run.trained:
        yield "epoch", _of(int(run.log.last("epoch")), epochs)
    yield "state", state(run)
    if run.trained:
        yield "training time", duration(run.seconds()[-1])
    if (remaining := run.remaining()) is not None:
        yield "remaining, estimated", duration(remaining)


def _of(done: int, total: int) -> str:
    return f"{done:,} of {total:,}" if total else f"{done:,}"


def axes(run: RunFolder) -> dict[str, list[float]]:
    """Return the epoch and the training time, as curves over images, for the x-axis of charts.

    A curve is a list of images, value, images, value, and so on.
    """
    epochs = integer(table(run.settings.get("train")).get("epochs"))
    images = run.log.column("images")
    curves: dict[str, list[float]] = {}
    if not len(images):
        return curves
    if run.total_images and epochs:
        curves["epoch"] = [0, 0, run.total_images, epochs]
    at = np.unique(np.linspace(0, len(images) - 1, MAX_POINTS).astype(int))
    time = np.round(np.column_stack([images, run.seconds()])[at], 1)
    curves["time"] = [0, 0, *time.ravel().tolist()]
    return curves


def data_rows(run: RunFolder) -> list[tuple[str, str]]:
    """Return the path of the dataset and the number of images of each split."""
    path = table(run.settings.get("data")).get("path")
    rows = [("dataset", path)] if isinstance(path, str) and path else []
    for split, counts in run.counts.items():
        words = (
            f"{integer(count):,} {'' if what == 'pairs' else 'of '}{what}"
            for what, count in table(counts).items()
        )
        rows.append((split, ", ".join(words)))
    return rows


def models(run: RunFolder) -> list[tuple[str, list[str]]]:
    """Return the model files of the run, by what they are."""
    weights = run.best.best.weights if run.best else ""
    kinds = {
        "best": f"best validation{', EMA weights' if weights == 'ema' else ''}",
        "": "last checkpoint",
        "ema": "last checkpoint, EMA weights",
    }
    found = ((kind, run.generators(folder)) for folder, kind in kinds.items())
    return [(kind, files) for kind, files in found if files]


def command(run: RunFolder) -> str:
    """Return a command that translates with the best model of the run; empty without a model."""
    files = [file for _, some in models(run) for file in some]
    model = shlex.quote(str(run.path / files[0])) if files else ""
    return f"viceversa translate {model} IMAGE -o OUT" if files else ""


def _best_tile(run: RunFolder) -> list[tuple[str, str]]:
    if run.best is None:
        return []
    metric, best = run.best.chosen_by, run.best.best
    weights = f", {weights_name(best.weights)}" if best.weights not in ("", "raw") else ""
    few = few_images(metric, run.best.n)
    value = f"{number(best.value)} after {best.images:,} images{weights}{few and f' ({few})'}"
    return [(f"best {label(metric)}", value)]


def weights_name(weights: str) -> str:
    """Return the name of a kind of weights in the log, as text."""
    return "EMA weights" if weights == "ema" else f"{weights} weights"


def state(run: RunFolder) -> str:
    """Return whether a run is finished, as text."""
    if not run.trained:
        return "no log entry yet"
    return "finished" if run.finished else "not finished"


def logged(run: RunFolder) -> str:
    """Return the local time of the last log entry."""
    if run.logged_at is None:
        return "never"
    return datetime.fromtimestamp(run.logged_at).astimezone().strftime("%Y-%m-%d %H:%M")


def samples(run: RunFolder) -> list[Sample]:
    """Return the sample grids of the page; fewer if the page would be too large."""
    found: list[Sample] = []
    for most in MAX_GRIDS:
        found = []
        for images in selected(list(run.samples), most):
            grid = thumbnail(run.samples[images])
            patch_map = run.patch_maps.get(images)
            if grid is not None:
                found.append(Sample(images, grid, thumbnail(patch_map) if patch_map else None))
        thumbnails = [one for sample in found for one in (sample.grid, sample.patch_map) if one]
        if sum(one.characters for one in thumbnails) <= MAX_CHARACTERS:
            break
    return found


def selected(steps: Sequence[int], most: int = MAX_GRIDS[0]) -> list[int]:
    """Return at most `most` steps, evenly spaced, including the first and the last.

    The stride is a power of two: as a run continues, most steps stay selected, and their thumbnails
    stay cached.
    """
    stride = 1
    while -(-len(steps) // stride) + (stride > 1) > most:
        stride *= 2
    return list(dict.fromkeys([*steps[::stride], *steps[-1:]]))


def _loss_charts(run: RunFolder) -> Iterator[str]:
    """Yield a chart for each network group; its losses begin with its initial, such as `g_`."""
    left = run.loss_names()
    groups = {group.capitalize(): f"{group[:1]}_" for group in run.groups()}
    for title, start in (groups | {"Other values": ""}).items():
        own = [name for name in left if name.startswith(start)]
        left = [name for name in left if name not in own]
        curves = ((name, run.training(f"loss.{name}")) for name in own)
        yield chart(title, [Series(name, curve, i) for i, (name, curve) in enumerate(curves)])


def _validation_charts(run: RunFolder) -> Iterator[str]:
    """Yield a chart for each metric, with a line for each direction and a mark at the best."""
    metrics: dict[str, list[str]] = {}
    for name in names(values for one in run.validations for values in (one.raw, one.ema)):
        metrics.setdefault(split_name(name)[0], []).append(name)
    for metric, own in metrics.items():
        series = []
        for i, name in enumerate(own):
            direction = DIRECTIONS.get(split_name(name)[1], "both directions") if own[1:] else ""
            series.append(Series(direction or "weights", run.metric(name), i))
            of_ema = f"{direction}, EMA weights" if direction else "EMA weights"
            curve = run.ema_metric(name)
            series.append(Series(of_ema, curve, i if direction else 1, dashed=True))
        marks = []
        if run.best is not None and run.best.chosen_by in own:
            best = run.best.best
            text = f"best: {number(best.value)} after {best.images:,} images"
            marks = [Mark(best.images, best.value or 0.0, text)]
        few = few_images(metric, run.validations[-1].n)
        title = label(metric if own[1:] else own[0]) + (few and f" ({few})")
        yield chart(title, series, better(metric), marks)


def _validated_on(run: RunFolder) -> str:
    if not run.validations:
        return ""
    last = run.validations[-1]
    split = f"split {last.split}" if last.split else "held-out part"
    images = "1 image" if last.n == 1 else f"{last.n:,} images" if last.n else "images"
    text = f"Measured on {images} of the {split}."
    for side, one in run.value_ranges.items():
        text += f" Range of {side.upper()}: {scaled_range(one)}."
    return f"{text} PSNR is a mean over images." if "psnr" in last.raw else text


def _optimization_charts(run: RunFolder) -> Iterator[str]:
    norms = [
        Series(group, run.training(f"grad_norm.{group}"), i) for i, group in enumerate(run.groups())
    ]
    yield chart("Gradient norm", norms)
    yield chart("Learning rate", [Series("lr", run.training("lr"))])
    note = "including the time for validation and sample grids"
    yield chart("Speed", [Series("images per second", run.training("images_per_s"))], note)


def _machine(run: RunFolder) -> Iterator[tuple[str, str]]:
    for key, value in flatten(run.machine):
        in_bytes = key.endswith("_bytes") and value.isdecimal()
        name = key.removesuffix("_bytes").replace("_", " ")
        yield name, f"{int(value) / 2**30:.1f} GiB" if in_bytes else value
