"""evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from .app import app


@app.command
def evaluate(
    model: Path,
    data: str = "",
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    split: Literal["auto", "train", "val", "test"] = "auto",
    pairs: Literal["auto", "yes", "no"] = "auto",
    size: str = "trained",
    policy: Literal["image", "running", "paper"] = "image",
    metrics: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    classes: str = "",
    features: Path | None = None,
    batch_size: int = 8,
    device: str = "auto",
    seed: int = 0,
    max_megapixels: int = 64,
    layout: Annotated[
        Literal["auto", "side-by-side", "folders", "patterns", "photos"] | None,
        Parameter(name="--data.layout"),
    ] = None,
    hold_out: float | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Measure a translator on images: numbers with their protocol, and the cases to look at.

    Writes metrics.json, and index.html with the best, the median and the worst cases.

    Parameters
    ----------
    model
        A run's folder (both ways of a cycle, and the cycle's error), or one translator.
    data
        The data set; without it the one of the model's run.
    out
        The folder to write; without it, evaluation in the model's folder.
    split
        auto is test, else val, else the images that are in no split.
    pairs
        Whether each source has its target; auto is as the method learnt.
    size
        trained: resized as in training, but whole; own: as the files are; or pixels a side.
    policy
        image: batch norm by each image's own statistics; running: by training's; paper: as image,
        with dropout on.
    metrics
        Those to have, of l1, psnr, ssim, ms_ssim, lpips (pairs), cycle (both ways), content, swd,
        fid and kid; without it, all that can be had.
    classes
        Colours of a target's classes, #rrggbb,...: gives pixel accuracy and IoU.
    features
        A folder with feature networks; without it, that of viceversa features.
    batch_size
        Images of one size translated at once.
    device
        auto, or a torch device such as cpu or cuda.
    seed
        Seed of the dropout of policy paper.
    max_megapixels
        The largest image that is decoded.
    layout
        Structure of the data; without it that of training, and auto for other data.
    hold_out
        Fraction of the images that is split val, for data without a val or test split; without
        it, data.hold_out of the model's run, so that no image of training is in val.
    as_json
        Print the numbers for programs, instead of the table.
    """
    from ..evaluation import Options, measure, refuse_place, table, values, write_evaluation
    from ..terminal import counter

    options = Options(
        model, data, split, pairs, size, policy, tuple(metrics or ()), classes, features,
        batch_size, device, seed, max_megapixels, layout, hold_out,
    )  # fmt: skip
    beside = model if model.is_dir() else model.parent
    folder = out or beside / "evaluation"
    refuse_place(folder, options)
    with counter("evaluating") as progress:
        result = measure(options, progress)
    page = write_evaluation(result, folder)
    print(json.dumps(values(result), indent=2) if as_json else f"{table(result)}\nthe page: {page}")
