"""Page of an evaluation, with its best, median and worst cases as images."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError
from ..images import Pixels, write
from ..images.domain import Domain
from ..images.values import (
    fill_nodata,
    make_grid,
    quantized,
    to_pixels,
    to_rgb,
    to_tensor,
    to_values,
)
from ..inference.patch_scores import PatchScorer, draw_patch_map
from ..metrics.registry import DIRECTIONS, better, few_images, higher_is_better, label
from ..reports.evaluation import Case, DirectionResult, write_evaluation_page
from ..reports.text import number
from .results import DirectionMetrics, Evaluation, protocol

CASES = 3  # of each kind
RANKED_BY = ("lpips", "l1", "cycle", "edge_correlation")  # the first of these that was computed


def write_page(result: Evaluation, folder: Path) -> Path:
    """Write index.html and the images in cases/, and return the path of the page."""
    path = folder / "index.html"
    title = f"Evaluation of {result.options.model}"
    directions = [_direction(result, metrics, folder) for metrics in result.directions]
    write_evaluation_page(path, title, result.notes, directions, protocol(result))
    return path


def _direction(result: Evaluation, metrics: DirectionMetrics, folder: Path) -> DirectionResult:
    scorer = _scorer(result, metrics.direction)
    columns = ["source", "translation", *(["target"] if result.paired else [])]
    if scorer is not None:
        columns += [f"patch map of the {one}" for one in columns[1:]]
    metric = next((name for name in RANKED_BY if name in metrics.values), None)
    title = DIRECTIONS[metrics.direction]
    return DirectionResult(
        title=f"{title}: {metrics.translations} translations",
        values=f"{metrics.range}. Confidence intervals are by bootstrap over the images.",
        numbers=_numbers(metrics),
        cases_title=f"{title}: best, median and worst by {label(metric or '')}",
        cases={} if metric is None else _cases(result, metrics, metric, scorer, folder),
        columns=columns,
        patch_maps=scorer is not None,
    )


def _numbers(metrics: DirectionMetrics) -> list[tuple[str, str, str]]:
    means = [
        (_title(name), number(mean), f"{number(low)} to {number(high)}")
        for name, (mean, low, high) in metrics.intervals.items()
    ]
    sets = [
        (_title(name), number(value), few_images(name, metrics.smaller_set))
        for name, value in metrics.sets.items()
    ]
    return means + sets


def _title(name: str) -> str:
    return f"{label(name)}, {better(name)}" if better(name) else label(name)


def _cases(
    result: Evaluation,
    metrics: DirectionMetrics,
    metric: str,
    scorer: PatchScorer | None,
    folder: Path,
) -> dict[str, list[Case]]:
    """Write the cases as image files, ranked by a metric."""
    values = metrics.values[metric]
    order = sorted(range(len(values)), key=lambda i: _quality(metric, values[i]), reverse=True)
    middle = max(0, len(order) // 2 - CASES // 2)
    kinds = {
        "best": order[:CASES],
        "median": order[middle : middle + CASES],
        "worst": order[-CASES:],
    }
    cases: dict[str, list[Case]] = {}
    for kind, indices in kinds.items():
        for rank, index in enumerate(indices, start=1):
            path = folder / "cases" / f"{metrics.direction}-{kind}-{rank}.png"
            write(path, _row(result, metrics, index, scorer))
            text = f"{label(metric)} {number(values[index])}"
            cases.setdefault(kind, []).append(Case(path, metrics.sources[index], text))
    return cases


def _quality(metric: str, value: float) -> float:
    """Return a number that grows as a metric gets better; NaN is the worst."""
    sign = 1 if higher_is_better(metric) else -1
    return -math.inf if math.isnan(value) else sign * value


def _scorer(result: Evaluation, direction: str) -> PatchScorer | None:
    """Load the discriminator beside the model, if there is one for the same domains."""
    path = result.model.files[direction].with_name(f"d_{direction[1]}.safetensors")
    translator = result.model.translators[direction]
    try:
        scorer = PatchScorer.load(path, result.options.device) if path.is_file() else None
    except UserError:  # it is untrained, or of an earlier version
        return None
    if scorer is None or scorer.domain != translator.target:
        return None
    return scorer if scorer.source in (None, translator.source) else None


def _row(
    result: Evaluation, metrics: DirectionMetrics, index: int, scorer: PatchScorer | None
) -> Pixels:
    """Draw source, translation, target and patch maps beside each other."""
    dataset, cpu = result.images.dataset, torch.device("cpu")
    a, b = metrics.direction[0], metrics.direction[1]
    translator = result.model.translators[metrics.direction]
    here, there = translator.source, translator.target
    position = [str(one) for one in dataset.sources(a)].index(metrics.sources[index])
    source = fill_nodata(dataset.values(a, position, cpu), here)
    images = [quantized(translator.tensor(source), there)]
    if result.paired:
        images.append(fill_nodata(dataset.values(b, position, cpu), there))
    row = [to_rgb(source, here)[0], *(to_rgb(image, there, source)[0] for image in images)]
    if scorer is not None:
        row += [_patch_map(scorer, image, source, there) for image in images]
    return make_grid([row])


def _patch_map(scorer: PatchScorer, image: Tensor, source: Tensor, domain: Domain) -> Tensor:
    """Draw a patch map, (3, h, w) in [-1, 1]; grey if the image is too small for one."""
    pixels = to_pixels(to_rgb(image, domain, source), Domain())[0]
    try:
        scores = scorer(image[0], source[0] if scorer.source else None)
    except UserError:
        return torch.zeros(3, *image.shape[2:])
    return to_values(to_tensor(draw_patch_map(pixels, scores))[None], Domain())[0]
