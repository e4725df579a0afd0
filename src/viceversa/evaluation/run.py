"""Evaluate a trained model on a dataset, and write the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..checkpoint import read_header
from ..data.config import Layout
from ..data.readonly import refuse_output_in_data, training_data
from ..errors import UserError
from ..files import write_bytes, write_json
from ..inference import Policy
from ..inference.model_files import translator_files
from ..metrics.registry import DIRECTIONS, METRICS, needs_pairs
from .accumulator import Features, load_features
from .direction import DirectionEvaluator
from .inputs import batches, open_images, open_model
from .options import EvaluationOptions, Pairs, Split
from .render import write_page
from .results import Evaluation, as_csv, as_json

Progress = Callable[[int, int], None]


def evaluate(
    model: str | Path,
    data: str | Path = "",
    out: str | Path | None = None,
    *,
    split: Split = "auto",
    pairs: Pairs = "auto",
    size: str | int = "trained",
    policy: Policy = "image",
    metrics: Sequence[str] = (),
    classes: Sequence[str] = (),
    features: str | Path | None = None,
    batch_size: int = 8,
    device: str = "auto",
    seed: int = 0,
    max_megapixels: int = 64,
    layout: Layout | None = None,
    hold_out: float | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Evaluate a model on a dataset, as `viceversa evaluate` does.

    Args:
        model: A run folder, or one translator.
        data: The dataset; empty is that of the model's run.
        out: A folder for metrics.json, images.csv and the page index.html; None writes nothing.
        split: `train`, `val`, `test`, or `auto`: test, else val, else all images.
        pairs: Whether each source has a target: `yes`, `no`, or `auto`: as in training.
        size: `trained` (resized as in training, not cropped), `own`, or pixels a side.
        policy: Batch norm and dropout: `image`, `running` or `paper`; see `Translator`.
        metrics: Names of metrics; empty is all that are available.
        classes: Colours #rrggbb of the target's classes, for pixel accuracy and IoU.
        features: A folder with feature networks; None is the user's cache.
        batch_size: Number of images translated at once.
        device: `auto` or a torch device.
        seed: Seed of the dropout of policy `paper`.
        max_megapixels: Maximum size of an image.
        layout: Structure of the dataset, as `data.layout`.
        hold_out: Fraction of the images that is val, for data without splits; None is as in
            training.
        progress: Called with (images done, images in total).

    Returns:
        The content of metrics.json: `["directions"]["ab"]["means"]["l1"]["mean"]` is a mean over
        images, `["directions"]["ab"]["sets"]["fid"]` a metric of sets. Non-finite values are None.

    Raises:
        UserError: The model, the data or an option is invalid.
    """
    options = EvaluationOptions(
        model=Path(model),
        data=str(data),
        split=split,
        pairs=pairs,
        size=str(size),
        policy=policy,
        metrics=tuple(metrics),
        classes=",".join(classes),
        features=None if features is None else Path(features),
        batch_size=batch_size,
        device=device,
        seed=seed,
        max_megapixels=max_megapixels,
        layout=layout,
        hold_out=hold_out,
    )
    folder = None if out is None else Path(out)
    if folder is not None:
        check_output_folder(folder, options)
    result = run_evaluation(options, progress)
    if folder is not None:
        write_evaluation(result, folder)
    return as_json(result)


def run_evaluation(
    options: EvaluationOptions, progress: Progress = lambda done, total: None
) -> Evaluation:
    """Translate a split, and compute metrics. Raises UserError."""
    model = open_model(options)
    paired = model.paired if options.pairs == "auto" else options.pairs == "yes"
    images = open_images(options, model, paired)
    device = next(iter(model.translators.values())).device
    features, notes = _available_features(options, paired, device)
    evaluators = [
        DirectionEvaluator(direction, model, options, features, paired)
        for direction in model.translators
    ]
    _refuse_ineffective(options, paired, evaluators)
    result = Evaluation(options, model, images, paired, features)
    notes = [*images.notes, *notes]
    total = sum(len(images.dataset.sources(direction[0])) for direction in model.translators)
    done = 0
    for evaluator in evaluators:
        skipped: list[str] = []
        for batch in batches(
            images.dataset, evaluator.direction, paired, options.batch_size, skipped
        ):
            evaluator.add(batch)
            done += len(batch.files)
            progress(done, total)
        if skipped:
            what = (
                "pairs without a pixel that has data in both" if paired else "images without data"
            )
            count, first = len(skipped), skipped[0]
            notes.append(f"{evaluator.direction}: left out {count} {what}, the first is {first}")
        metrics, more = evaluator.result(images.dataset)
        result.directions.append(metrics)
        notes += more
    result.notes = [*_merged(notes), *images.dataset.store.other_dtypes]
    return result


def _available_features(
    options: EvaluationOptions, paired: bool, device: torch.device
) -> tuple[Features, list[str]]:
    """Load the feature networks that are available; notes say how to get the others."""
    features, notes = Features({}, {}), []
    for name in options.requested:
        network = METRICS[name].network
        if not network or network in features.networks or (needs_pairs(name) and not paired):
            continue
        try:
            loaded = load_features((name,), options.features, device)
        except UserError as error:
            if name in options.required:
                raise
            notes.append(str(error))
            continue
        features.networks.update(loaded.networks)
        features.digests.update(loaded.digests)
    return features, list(dict.fromkeys(notes))


def _refuse_ineffective(
    options: EvaluationOptions, paired: bool, evaluators: Sequence[DirectionEvaluator]
) -> None:
    """Raise UserError for a named metric or an option that would have no effect."""
    for name in options.metrics:
        if any(name in one.accumulator.metrics for one in evaluators):
            continue
        if needs_pairs(name):
            raise UserError(
                f"--metrics {name} compares pairs, but the images are unpaired", option="--metrics"
            )
        raise UserError(
            f"--metrics {name} needs translators of both directions in one folder",
            option="--metrics",
        )
    if options.colours and not paired:
        raise UserError("--classes compares pairs, but the images are unpaired", option="--classes")
    if options.colours and all(one.translator.target.config.kind == "labels" for one in evaluators):
        raise UserError(
            "--classes is for RGB images; the target is a label map with its own classes",
            option="--classes",
        )


def _merged(notes: Sequence[str]) -> list[str]:
    """Merge notes with the same text about two directions."""
    merged: dict[str, list[str]] = {}
    for note in notes:
        direction, _, text = note.partition(": ")
        known = direction in DIRECTIONS
        merged.setdefault(text if known else note, []).extend([direction] if known else [])
    return [f"{' and '.join(of)}: {text}" if of else text for text, of in merged.items()]


def check_output_folder(folder: Path, options: EvaluationOptions) -> None:
    """Raise UserError if the folder for the results is a file, or is inside a dataset."""
    if folder.exists() and not folder.is_dir():
        raise UserError(
            f"-o {folder} is a file; name a folder for the results", option="--out", path=folder
        )
    refuse_output_in_data(folder, Path(options.data) if options.data else None, "-o")
    for file in translator_files(options.model):
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
