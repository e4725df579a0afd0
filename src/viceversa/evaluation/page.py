"""The page of an evaluation: its numbers, its protocol, and the best, middle and worst cases."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError
from ..images import Pixels, write
from ..images.domain import Domain
from ..images.tensors import as_written, decode, encode, grid, planes, shown
from ..judging import Judge, heat
from ..pages.html import document, escape, picture, rows_table, section, write_page
from ..pages.player import image
from .evaluation import Evaluation, Way
from .words import better, protocol

CASES = 3  # of each kind
ORDER = ("lpips", "l1", "cycle", "content")  # by the first of these that there is


def write_evaluation_page(result: Evaluation, folder: Path) -> Path:
    """Write index.html, and its pictures in cases/; returns the page's path."""
    body = f"<header><h1>Evaluation of {escape(result.options.model)}</h1></header>\n"
    body += "".join(f'<p class="about">{escape(note)}</p>' for note in result.notes)
    for way in result.ways:
        body += section(f"{way.way}: {way.made} translations", _numbers(way))
        body += _cases(result, way, folder)
    rows = [
        (k, json.dumps(v) if not isinstance(v, str) else v) for k, v in protocol(result).items()
    ]
    body += section("Protocol", rows_table(rows), "Numbers of another protocol can't be compared.")
    path = folder / "index.html"
    write_page(path, document(f"Evaluation of {result.options.model}", body))
    return path


def _numbers(way: Way) -> str:
    rows = [
        (name, f"{mean:.4f}", f"{low:.4f} to {high:.4f}")
        for name, (mean, low, high) in way.intervals.items()
    ]
    rows += [(name, f"{value:.4f}", "") for name, value in way.sets.items()]
    return rows_table(rows, ("metric", "mean", "95 % of such sets"))


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
    judge, shown_before = _judge(result, way), ""
    for kind, places in kinds.items():
        for rank, place in enumerate(places):
            path = folder / "cases" / f"{way.way}-{kind}-{rank + 1}.png"
            write(path, _sheet(result, way, place, judge))
            held = picture(path)
            told = f"{kind}: {way.names[place]}, {by} {way.each[by][place]:.4f}"
            if held is not None:
                shown_before += f"<figure><figcaption>{escape(told)}</figcaption>"
                shown_before += f"{image(held, told)}</figure>\n"
    columns = "source, translation" + (", target" if result.paired else "")
    if judge is not None:
        columns += ", and what the discriminator says of them: blue looks real, orange made"
    return section(f"{way.way}: best, middle and worst by {by}", shown_before, columns)


def _judge(result: Evaluation, way: Way) -> Judge | None:
    """The discriminator beside the model, where there is one that fits."""
    path = result.model.files[way.way].with_name(f"d_{way.way[1]}.safetensors")
    try:
        return Judge.load(path, result.options.device) if path.is_file() else None
    except UserError:  # one that has learnt nothing, or is of an earlier version
        return None


def _sheet(result: Evaluation, way: Way, place: int, judge: Judge | None) -> Pixels:
    pictures, cpu = result.images.pictures, torch.device("cpu")
    translator = result.model.translators[way.way]
    source = pictures.alone(way.way[0], place, cpu)
    there = translator.target
    made = as_written(translator.tensor(source), there)
    row = [shown(source, translator.source)[0], shown(made, there, source)[0]]
    judged = [made]
    if result.paired:
        target = pictures.alone(way.way[1], place, cpu)
        row.append(shown(target, there, source)[0])
        judged.append(target)
    if judge is not None:
        row += [_heat(judge, one, source, there) for one in judged]
    return grid([row])


def _heat(judge: Judge, image: Tensor, source: Tensor, domain: Domain) -> Tensor:
    """(3, h, w) in [-1, 1]: the discriminator's map over an image."""
    seen = decode(shown(image, domain, source), Domain())[0]
    over = heat(seen, judge(image[0], source[0] if judge.source else None))
    return encode(planes(over)[None], Domain())[0]
