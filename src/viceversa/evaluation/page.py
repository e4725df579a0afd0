"""The page of an evaluation: its numbers, its protocol, and the best, middle and worst cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

import torch
from torch import Tensor

from ..errors import UserError
from ..images import Pixels, write
from ..images.domain import Domain
from ..images.tensors import as_written, decode, encode, fill_nodata, grid, planes, shown
from ..judging import Judge, heat
from ..metric_names import WAYS, few_images, label
from ..metric_names import better as which
from ..pages.html import document, escape, figure, picture, rows_table, section, write_page
from ..pages.player import image
from ..pages.run import flat
from .evaluation import Evaluation, Way
from .words import better, protocol

CASES = 3  # of each kind
INTERVALS = "Intervals by bootstrap over the images: how another set of images would do."
VERDICTS = "Verdicts are the discriminator's, patch by patch: blue looks real, orange made."
PROTOCOL = "What decided these numbers. Numbers of another protocol can't be compared with them."
ORDER = ("lpips", "l1", "cycle", "content")  # by the first of these that there is


def write_evaluation_page(result: Evaluation, folder: Path) -> Path:
    """Write index.html, and its pictures in cases/; returns the page's path."""
    body = f"<header><h1>Evaluation of {escape(result.options.model)}</h1></header>\n"
    body += "".join(f'<p class="about">{escape(note)}</p>' for note in result.notes)
    for way in result.ways:
        body += section(f"{WAYS[way.way]}: {way.made} translations", _numbers(way), INTERVALS)
        body += _cases(result, way, folder)
    body += section("Protocol", rows_table(flat(protocol(result)), caption="Protocol"), PROTOCOL)
    path = folder / "index.html"
    write_page(path, document(f"Evaluation of {result.options.model}", body))
    return path


def _numbers(way: Way) -> str:
    rows = [
        (_told(name), f"{mean:.4f}", f"{low:.4f} to {high:.4f}")
        for name, (mean, low, high) in way.intervals.items()
    ]
    rows += [
        (_told(name), f"{value:.4f}", few_images(name, way.fewest))
        for name, value in way.sets.items()
    ]
    return rows_table(rows, ("metric", "value", "95 % interval, notes"), "Numbers")


def _told(name: str) -> str:
    return f"{label(name)}, {which(name)}" if which(name) else label(name)


def _cases(result: Evaluation, way: Way, folder: Path) -> str:
    """The best, the middle and the worst, source, translation, target and verdicts beside each
    other."""
    by = next((name for name in ORDER if name in way.each), None)
    if by is None:
        return ""
    ranked = sorted(range(way.made), key=lambda i: better(by, way.each[by][i]), reverse=True)
    middle = max(0, len(ranked) // 2 - CASES // 2)
    kinds = {
        "best": ranked[:CASES], "middle": ranked[middle : middle + CASES], "worst": ranked[-CASES:],
    }  # fmt: skip
    judge, groups = _judge(result, way), ""
    heads = ["source", "translation", *(["target"] if result.paired else [])]
    if judge is not None:
        heads += [f"verdict on {one}" for one in heads[1:]]
    for kind, places in kinds.items():
        cases = []
        for rank, place in enumerate(places):
            path = folder / "cases" / f"{way.way}-{kind}-{rank + 1}.png"
            write(path, _sheet(result, way, place, judge))
            told = f"{label(by)} {figure(way.each[by][place])}"
            cases.append(_case(path, kind, way.names[place], told, heads if rank == 0 else []))
        groups += f'<h3>{kind.capitalize()}</h3>\n<div class="cases">{"".join(cases)}</div>\n'
    about = "" if judge is None else VERDICTS
    return section(f"{WAYS[way.way]}: best, middle and worst by {label(by)}", groups, about)


def _case(path: Path, kind: str, name: str, told: str, heads: Sequence[str]) -> str:
    """A picture under the end of its source's path; the whole of it is what is spoken."""
    held = picture(path)
    if held is None:
        return ""
    short = "/".join(PurePath(name).parts[-2:])
    return (
        f"<figure><figcaption>{escape(short)}: {escape(told)}</figcaption>"
        f"{image(held, f'{kind}: {name}, {told}', heads)}</figure>\n"
    )


def _judge(result: Evaluation, way: Way) -> Judge | None:
    """The discriminator beside the model, where there is one that fits."""
    path = result.model.files[way.way].with_name(f"d_{way.way[1]}.safetensors")
    translator = result.model.translators[way.way]
    try:
        judge = Judge.load(path, result.options.device) if path.is_file() else None
    except UserError:  # one that has learnt nothing, or is of an earlier version
        return None
    if judge is None or judge.domain != translator.target:
        return None
    return judge if judge.source in (None, translator.source) else None


def _sheet(result: Evaluation, way: Way, place: int, judge: Judge | None) -> Pixels:
    pictures, cpu = result.images.pictures, torch.device("cpu")
    translator = result.model.translators[way.way]
    here, there = translator.source, translator.target
    index = [str(one) for one in pictures.sources(way.way[0])].index(way.names[place])
    source = fill_nodata(pictures.alone(way.way[0], index, cpu), here)
    made = as_written(translator.tensor(source), there)
    row = [shown(source, here)[0], shown(made, there, source)[0]]
    judged = [made]
    if result.paired:
        target = fill_nodata(pictures.alone(way.way[1], index, cpu), there)
        row.append(shown(target, there, source)[0])
        judged.append(target)
    if judge is not None:
        row += [_heat(judge, one, source, there) for one in judged]
    return grid([row])


def _heat(judge: Judge, image: Tensor, source: Tensor, domain: Domain) -> Tensor:
    """(3, h, w) in [-1, 1]: the discriminator's map over an image; grey if that is too small."""
    seen = decode(shown(image, domain, source), Domain())[0]
    try:
        over = heat(seen, judge(image[0], source[0] if judge.source else None))
    except UserError:
        return torch.zeros(3, *image.shape[2:])
    return encode(planes(over)[None], Domain())[0]
