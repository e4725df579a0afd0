"""The command evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..metrics.registry import selectable
from .app import command


def _metrics_help() -> str:
    """Return the help of --metrics; it lists metrics of --import modules too."""
    return f"Metrics, of {', '.join(selectable())}; empty: all that are available."


@command(
    ("evaluate runs/photos", "the model of a run, on the test split of its data"),
    ("evaluate runs/photos/ab.safetensors other-photos -o results", "on other data"),
    ("evaluate runs/photos --metrics l1 lpips --split val", "chosen metrics"),
)
def evaluate(
    model: Path,
    data: str = "",
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    split: Literal["auto", "train", "val", "test"] = "auto",
    pairs: Literal["auto", "yes", "no"] = "auto",
    size: str = "trained",
    policy: Literal["image", "running", "paper"] = "image",
    metrics: Annotated[
        list[str] | None, Parameter(consume_multiple=True, negative="", help=_metrics_help())
    ] = None,
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
    """Evaluate a model on a dataset: metrics with their protocol, best and worst cases.

    Writes metrics.json, and index.html with the best, median and worst cases.

    Parameters
    ----------
    model
        A run folder (both directions of CycleGAN, and its cycle error), or one translator.
    data
        The dataset; empty: that of the model's run.
    out
        The folder for the results; empty: evaluation in the model's folder.
    split
        auto is test, else val, else all images.
    pairs
        Whether each source has a target; auto is as in training.
    size
        trained: resized as in training, but not cropped; own: as the files are; or pixels a side.
    policy
        image: batch norm with the statistics of each image; running: with those of training;
        paper: as image, with dropout.
    classes
        Colours of the target's classes, #rrggbb,...: adds pixel accuracy and IoU.
    features
        A folder with feature networks; empty: that of viceversa features.
    batch_size
        Number of images of one size translated at once.
    device
        auto, or a torch device such as cpu or cuda.
    seed
        Seed of the dropout of policy paper.
    max_megapixels
        Maximum size of an image.
    layout
        Structure of the dataset; empty: that of training, and auto for other data.
    hold_out
        Fraction of the images that is split val, for data without a val or test split; empty:
        data.hold_out of the model's run, so that no training image is in val.
    as_json
        Print JSON instead of a table.
    """
    from .. import evaluation
    from ..terminal import counter

    options = evaluation.EvaluationOptions(
        model=model,
        data=data,
        split=split,
        pairs=pairs,
        size=size,
        policy=policy,
        metrics=tuple(metrics or ()),
        classes=classes,
        features=features,
        batch_size=batch_size,
        device=device,
        seed=seed,
        max_megapixels=max_megapixels,
        layout=layout,
        hold_out=hold_out,
    )
    folder = out or (model if model.is_dir() else model.parent) / "evaluation"
    evaluation.check_output_folder(folder, options)
    with counter("evaluating") as progress:
        result = evaluation.run_evaluation(options, progress)
    page = evaluation.write_evaluation(result, folder)
    if as_json:
        print(json.dumps(evaluation.as_json(result), indent=2))
    else:
        print(f"{evaluation.as_table(result)}\nthe page: {page}")
