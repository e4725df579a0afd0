"""Page of a run, with the contents of its folder, as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ..metrics.registry import DIRECTIONS, better, few_images, label, split_name
from .charts import Mark, Series, chart
from .page import Thumbnail, flatten, render, thumbnail, write_page
from .run_folder import RunFolder, integer, names, table
from .text import number, value_range

FILE_NAME = "report.html"
MAX_GRIDS = (24, 12, 6, 3, 2)  # sample grids on a page; fewer if the page would be too large
MAX_CHARACTERS = 7_500_000  # of all images on a page


class Sample(NamedTuple):
    """A sample grid and the patch map of its first row."""

    images: int
    grid: Thumbnail
    patch_map: Thumbnail | None


def run_page(folder: Path) -> str:
    """Return the page of a run folder; missing and damaged files are left out."""
    run = RunFolder(folder)
    return render(
        "run.html",
        run=run,
        tiles=[*_progress_tiles(run), *_best_tile(run)],
        logged=logged(run),
        samples=samples(run),
        losses=list(_loss_charts(run)),
        validations=list(_validation_charts(run)),
        validated_on=_validated_on(run),
        optimization=list(_optimization_charts(run)),
        settings={name: flatten(values) for name, values in run.settings.items() if values},
        machine=list(_machine(run)),
    )


def write_run_page(folder: Path) -> Path:
    """Write the page of a run into its folder and return its path.

    Raises:
        UserError: The file cannot be written.
    """
    path = folder / FILE_NAME
    write_page(path, run_page(folder))
    return path


def _progress_tiles(run: RunFolder) -> list[tuple[str, str]]:
    method = table(run.settings.get("method")).get("name")
    epochs = integer(table(run.settings.get("train")).get("epochs"))
    tiles = [
        ("method", str(method or "unknown")),
        ("images processed", _of(run.images, run.total_images)),
    ]
    if run.losses:
        tiles.append(("epoch", _of(run.losses[-1].epoch, epochs)))
    return [*tiles, ("state", state(run))]


def _of(done: int, total: int) -> str:
    return f"{done:,} of {total:,}" if total else f"{done:,}"


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
    if not run.losses:
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
        if sum(len(one.url) for sample in found for one in sample[1:] if one) <= MAX_CHARACTERS:
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
    left = names(entry.losses for entry in run.losses)
    groups = {group.capitalize(): f"{group[:1]}_" for group in _groups(run)}
    for title, start in (groups | {"Other values": ""}).items():
        own = [name for name in left if name.startswith(start)]
        left = [name for name in left if name not in own]
        yield chart(title, [Series(name, run.loss(name), i) for i, name in enumerate(own)])


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
    text = f"Measured on {f'{last.n:,} images' if last.n else 'images'} of the {split}."
    ranges = [f"{side.upper()}: {value_range(one)}" for side, one in run.value_ranges.items()]
    if ranges:
        text += f" Values of {'; '.join(ranges)}, as -1 to 1 (peak 2)."
    return f"{text} PSNR is a mean over images." if "psnr" in last.raw else text


def _optimization_charts(run: RunFolder) -> Iterator[str]:
    norms = [Series(group, run.gradient(group), i) for i, group in enumerate(_groups(run))]
    yield chart("Gradient norm", norms)
    yield chart("Learning rate", [Series("lr", [(one.images, one.lr) for one in run.losses])])
    note = "including the time for validation and sample grids"
    yield chart("Speed", [Series("images per second", run.speed())], note)


def _groups(run: RunFolder) -> list[str]:
    """Return the network groups, each of which has an optimizer."""
    return names(entry.gradients for entry in run.losses)


def _machine(run: RunFolder) -> Iterator[tuple[str, str]]:
    for key, value in flatten(run.machine):
        in_bytes = key.endswith("_bytes") and value.isdecimal()
        name = key.removesuffix("_bytes").replace("_", " ")
        yield name, f"{int(value) / 2**30:.1f} GiB" if in_bytes else value
