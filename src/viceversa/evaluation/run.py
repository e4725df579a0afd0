"""Evaluate a model on a dataset, or a folder of generated images, and write the results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..checkpoint import read_header, translator_files
from ..config.evaluation import EvaluationData, EvaluationMasks, EvaluationOptions, Pairs, Split
from ..data.config import Layout
from ..data.readonly import refuse_output_in_data, training_data
from ..directions import Direction
from ..errors import UserError
from ..fields import ImageSize, fill, listed
from ..files import write_bytes, write_json
from ..images.domain import DomainConfig
from ..images.preprocessing import Part
from ..networks.config import Policy
from .folders import are_folders, evaluate_folders
from .models import evaluate_model
from .render import write_page
from .results import Evaluation, as_csv, as_json

Progress = Callable[[int, int], None]
NONE: Mapping[str, Any] = MappingProxyType({})


def evaluate(
    model: str | Path,
    data: str | Path = "",
    out: str | Path | None = None,
    *,
    split: Split = "auto",
    pairs: Pairs = "auto",
    size: str | ImageSize = "trained",
    policy: Policy = "image",
    flips: bool = False,
    metrics: Sequence[str] = (),
    classes: Sequence[str] = (),
    features: str | Path | None = None,
    batch_size: int = 8,
    device: str = "auto",
    seed: int = 0,
    max_megapixels: int = 64,
    layout: Layout | None = None,
    hold_out: float | None = None,
    direction: Direction = "ab",
    half: Part = None,
    masks: Mapping[str, str] = NONE,
    domain: Mapping[str, Any] = NONE,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Evaluate a model on a dataset, or two folders of images, as `viceversa evaluate` does.

    Args:
        model: A run folder, or one translator; or a folder of generated images.
        data: The dataset; empty is that of the model's run. For generated images: the folder of
            real images.
        out: A folder for metrics.json, images.csv and the page index.html; None writes nothing.
        split: `train`, `val`, `test`, or `auto`: test, else val, else all images.
        pairs: Whether each source has a target: `yes`, `no`, or `auto`: as in training. Two
            folders: `auto` pairs images of the same name.
        size: `trained` (resized as in training, not cropped), `own`, or pixels: one number, or
            (height, width).
        policy: Batch norm and dropout: `image`, `running` or `paper`; see `Translator`.
        flips: Whether to average the outputs for each image and for its mirror images; see
            `Translator.load`.
        metrics: Names of metrics; empty is all that are available.
        classes: Colours #rrggbb of the target's classes, for pixel accuracy and IoU.
        features: A folder with feature networks; None is the user's cache.
        batch_size: Number of images translated at once.
        device: `auto` or a torch device.
        seed: Seed of the dropout of policy `paper`.
        max_megapixels: Maximum size of an image.
        layout: Structure of the dataset, as `data.layout`.
        hold_out: Fraction of the images that is val, for data without splits; None is as in
            training for the data of the run, and 0 for other data.
        direction: Direction of generated images, for the tables.
        half: Half of side-by-side files of the folder of real images, `left` or `right`; `whole` if
            they are single images.
        masks: Folders of mask files by domain, such as `{"a": "masks"}`; empty is those of training
            that the dataset has.
        domain: Properties of generated and real images as in the section `data.b`, such as
            `{"channels": 1, "range": "-1000,3000", "unit": "HU"}`.
        progress: Called with (images done, images in total).

    Returns:
        The content of metrics.json: `["directions"]["ab"]["means"]["l1"]["mean"]` is a mean over
        images, `["directions"]["ab"]["sets"]["fid"]` a metric of sets. Non-finite values are None.
        `["training_images"]` is whether the model was trained on some of the images; then a warning
        is issued, too.

    Raises:
        UserError: The model, the data or an option is invalid.
    """
    options = EvaluationOptions(
        split=split,
        pairs=pairs,
        size=listed(size),
        policy=policy,
        flips=flips,
        metrics=tuple(metrics),
        classes=",".join(classes),
        features=None if features is None else Path(features),
        batch_size=batch_size,
        device=device,
        seed=seed,
        max_megapixels=max_megapixels,
        hold_out=hold_out,
        direction=direction,
        half=half,
        data=EvaluationData(
            layout,
            fill(EvaluationMasks, {"masks": masks.get("a", "")}, "data.a"),
            fill(DomainConfig, {"masks": masks.get("b", ""), **domain}, "data.b"),
        ),
    )
    folder = None if out is None else Path(out)
    if folder is not None:
        check_output_folder(folder, Path(model), str(data))
    result = run_evaluation(Path(model), str(data), options, progress)
    if folder is not None:
        write_evaluation(result, folder)
    if result.training_images:
        warnings.warn(result.notes[0], stacklevel=2)
    return as_json(result)


def run_evaluation(
    model: Path,
    data: str,
    options: EvaluationOptions,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Evaluate a model on a dataset, or a folder of generated images against one of real images.

    Raises UserError.
    """
    if are_folders(model, data):
        return evaluate_folders(model, Path(data), options, progress)
    return evaluate_model(model, data, options, progress)


def default_folder(model: Path, data: str) -> Path:
    """Return the folder for the results if none is given: beside the model or generated images."""
    if are_folders(model, data):
        images = model.absolute()
        return images.with_name(f"{images.name}-evaluation")
    return (model if model.is_dir() else model.parent) / "evaluation"


def check_output_folder(folder: Path, model: Path, data: str) -> None:
    """Raise UserError if the folder for the results is a file, or is inside a dataset."""
    if folder.exists() and not folder.is_dir():
        raise UserError(
            f"-o {folder} is a file; name a folder for the results", option="--out", path=folder
        )
    refuse_output_in_data(folder, Path(data) if data else None, "-o")
    if are_folders(model, data):
        refuse_output_in_data(folder, model, "-o")
        return
    for file in translator_files(model):
        refuse_output_in_data(folder, training_data(read_header(file), file), "-o")


def write_evaluation(result: Evaluation, folder: Path) -> Path:
    """Write metrics.json, images.csv and the page with its images; return the path of the page.

    Raises:
        UserError: A file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder {folder} can't be made: {error.strerror}", path=folder
        ) from None
    write_json(folder / "metrics.json", as_json(result))
    write_bytes(folder / "images.csv", as_csv(result).encode())
    return write_page(result, folder)
