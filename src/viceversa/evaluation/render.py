"""Draw the best, median and worst cases of an evaluation, and write its page."""

from __future__ import annotations

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
from ..inference.patch_scores import Judge, heat
from ..metrics.registry import WAYS, few_images, label
from ..metrics.registry import better as which
from ..reports.evaluation import Case, DirectionResult, write_evaluation_page
from ..reports.text import number
from .results import better, protocol
from .run import DirectionMetrics, Evaluation

CASES = 3  # of each kind
SORT_BY = ("lpips", "l1", "cycle", "content")  # the first of these that was measured


def write_page(result: Evaluation, folder: Path) -> Path:
    """Write index.html and its images in cases/, and return the path of the page."""
    path = folder / "index.html"
    title = f"Evaluation of {result.options.model}"
    directions = [_direction(result, way, folder) for way in result.ways]
    write_evaluation_page(path, title, result.notes, directions, protocol(result))
    return path


def _direction(result: Evaluation, way: DirectionMetrics, folder: Path) -> DirectionResult:
    judge = _discriminator(result, way)
    columns = ["source", "translation", *(["target"] if result.paired else [])]
    if judge is not None:
        columns += [f"patch map of the {one}" for one in columns[1:]]
    by = next((name for name in SORT_BY if name in way.each), None)
    return DirectionResult(
        title=f"{WAYS[way.way]}: {way.made} translations",
        numbers=_numbers(way),
        cases_title=f"{WAYS[way.way]}: best, median and worst by {label(by or '')}",
        cases={} if by is None else _cases(result, way, by, judge, folder),
        columns=columns,
        patch_maps=judge is not None,
    )


def _numbers(way: DirectionMetrics) -> list[tuple[str, str, str]]:
    rows = [
        (_title(name), number(mean), f"{number(low)} to {number(high)}")
        for name, (mean, low, high) in way.intervals.items()
    ]
    return rows + [
        (_title(name), number(value), few_images(name, way.fewest))
        for name, value in way.sets.items()
    ]


def _title(name: str) -> str:
    return f"{label(name)}, {which(name)}" if which(name) else label(name)


def _cases(
    result: Evaluation, way: DirectionMetrics, by: str, judge: Judge | None, folder: Path
) -> dict[str, list[Case]]:
    """Draw the cases as files, ranked by the metric `by`."""
    values = way.each[by]
    ranked = sorted(range(way.made), key=lambda i: better(by, values[i]), reverse=True)
    middle = max(0, len(ranked) // 2 - CASES // 2)
    kinds = {
        "best": ranked[:CASES],
        "median": ranked[middle : middle + CASES],
        "worst": ranked[-CASES:],
    }
    cases: dict[str, list[Case]] = {}
    for kind, positions in kinds.items():
        for rank, position in enumerate(positions, start=1):
            path = folder / "cases" / f"{way.way}-{kind}-{rank}.png"
            write(path, _drawing(result, way, position, judge))
            metric = f"{label(by)} {number(values[position])}"
            cases.setdefault(kind, []).append(Case(path, way.names[position], metric))
    return cases


def _discriminator(result: Evaluation, way: DirectionMetrics) -> Judge | None:
    """Return the discriminator beside the model, if there is one for the same domains."""
    path = result.model.files[way.way].with_name(f"d_{way.way[1]}.safetensors")
    translator = result.model.translators[way.way]
    try:
        judge = Judge.load(path, result.options.device) if path.is_file() else None
    except UserError:  # it is untrained, or of an earlier version
        return None
    if judge is None or judge.domain != translator.target:
        return None
    return judge if judge.source in (None, translator.source) else None


def _drawing(
    result: Evaluation, way: DirectionMetrics, position: int, judge: Judge | None
) -> Pixels:
    """Return source, translation, target and patch maps beside each other."""
    pictures, cpu = result.images.pictures, torch.device("cpu")
    translator = result.model.translators[way.way]
    here, there = translator.source, translator.target
    index = [str(one) for one in pictures.sources(way.way[0])].index(way.names[position])
    source = fill_nodata(pictures.values(way.way[0], index, cpu), here)
    images = [quantized(translator.tensor(source), there)]
    if result.paired:
        images.append(fill_nodata(pictures.values(way.way[1], index, cpu), there))
    row = [to_rgb(source, here)[0], *(to_rgb(image, there, source)[0] for image in images)]
    if judge is not None:
        row += [_patch_map(judge, image, source, there) for image in images]
    return make_grid([row])


def _patch_map(judge: Judge, image: Tensor, source: Tensor, domain: Domain) -> Tensor:
    """Return the patch map over an image, (3, h, w) in [-1, 1]; grey if the image is too small."""
    pixels = to_pixels(to_rgb(image, domain, source), Domain())[0]
    try:
        over = heat(pixels, judge(image[0], source[0] if judge.source else None))
    except UserError:
        return torch.zeros(3, *image.shape[2:])
    return to_values(to_tensor(over)[None], Domain())[0]
