"""Evaluation of a trained model: translate the images of a split, and compute metrics."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from ..config.evaluation import OF_FOLDERS, EvaluationOptions
from ..data.dataset import ImageDataset
from ..files import sha256
from ..images.domain import Domain
from ..images.values import fill_nodata, fill_output, has_data, quantized
from ..metrics.registry import DIRECTIONS
from .direction import DirectionEvaluator, available_features, refuse_ineffective
from .inputs import EvaluationBatch, EvaluationImages, Model, batches, open_images, open_model
from .model_cases import case_images
from .results import (
    CaseImages,
    DirectionMetrics,
    Evaluation,
    nodata_protocol,
    protocol,
    text_of_size,
)

Progress = Callable[[int, int], None]
TRAINED_ON = " (images that the model was trained on)"


def evaluate_model(
    path: Path, data: str, options: EvaluationOptions, progress: Progress
) -> Evaluation:
    """Translate a split with a model, and compute metrics.

    Args:
        path: A run folder, or one translator.
        data: The dataset; empty: that of the model's run.
        options: The options.
        progress: Called with (images done, images in total).

    Raises:
        UserError: The model, the data or an option is invalid.
    """
    options.refuse(OF_FOLDERS, "two folders of images: the file of a model describes its images")
    model = open_model(path, options)
    paired = model.paired if options.pairs == "auto" else options.pairs == "yes"
    images = open_images(data, model, options, paired)
    dataset, split = images.dataset, images.split
    device = next(iter(model.translators.values())).device
    features, feature_notes = available_features(options, paired, device)
    evaluators = {
        direction: DirectionEvaluator(
            direction,
            (translator.source, translator.target),
            {
                "source",
                "sets",
                *(["pair"] if paired else []),
                *(["cycle"] if direction[::-1] in model.translators else []),
            },
            options,
            features,
        )
        for direction, translator in model.translators.items()
    }
    refuse_ineffective(options, paired, list(evaluators.values()))

    def cases(metrics: DirectionMetrics) -> CaseImages:
        return case_images(
            model.translators[metrics.direction],
            model.files[metrics.direction],
            options.device,
            dataset,
            paired,
            metrics,
        )

    result = Evaluation(
        f"Evaluation of {path}",
        f"{split}: {dataset.index.layout}{TRAINED_ON if images.training_images else ''}",
        _protocol(model, images, options, paired, features.digests),
        cases,
        training_images=images.training_images,
    )
    notes = [*images.notes, *feature_notes]
    total = sum(len(dataset.sources(direction[0])) for direction in evaluators)
    done = 0
    for direction, evaluator in evaluators.items():
        skipped: list[str] = []
        for batch in batches(dataset, direction, paired, options.batch_size, skipped):
            evaluator.add(batch, *_translated(model, direction, batch))
            done += len(batch.files)
            progress(done, total)
        if skipped:
            what = (
                "pairs without a pixel that has data in both" if paired else "images without data"
            )
            count, first = len(skipped), skipped[0]
            notes.append(f"{direction}: left out {count} {what}, the first is {first}")
        if not paired:
            _add_real(evaluator, images)
        count, real = len(evaluator.files), len(dataset.sources(direction[1]))
        kind = "pairs" if paired else f"translations, {real} real images"
        metrics, more = evaluator.result(f"{count} {kind} of {split}", count, real)
        result.directions.append(metrics)
        notes += more
    dtypes = [
        f"{side.upper()}: {dataset.domains[side].other_dtype(dtype)}"
        for side, dtype in dataset.store.other_dtypes
    ]
    result.notes = [*_merged(notes), *dtypes]
    return result


def _translated(
    model: Model, direction: str, batch: EvaluationBatch
) -> tuple[Tensor, Tensor | None]:
    """Return the outputs of a batch as their files store them, and the outputs translated back."""
    translator, back = model.translators[direction], model.translators.get(direction[::-1])
    source = fill_nodata(batch.source, translator.source)
    output = fill_output(translator.tensor(source), batch.source.to("cpu"), translator.target)
    output = _as_file(output, translator.target)
    cycle = _as_file(back.tensor(output.float()), translator.source) if back else None
    return output, cycle


def _as_file(values: Tensor, domain: Domain) -> Tensor:
    """Return values in [-1, 1] as those of the files that translation writes, in float64."""
    return quantized(values.double(), domain)


def _add_real(evaluator: DirectionEvaluator, images: EvaluationImages) -> None:
    """Add the real images of unpaired data."""
    there = evaluator.direction[1]
    for index in range(len(images.dataset.sources(there))):
        image = images.dataset.values(there, index, torch.device("cpu"))
        if bool(has_data(image, image)):
            evaluator.accumulator.add_real(image)


def _merged(notes: Sequence[str]) -> list[str]:
    """Merge notes with the same text about two directions."""
    merged: dict[str, list[str]] = {}
    for note in notes:
        direction, _, text = note.partition(": ")
        known = direction in DIRECTIONS
        merged.setdefault(text if known else note, []).extend([direction] if known else [])
    return [f"{' and '.join(of)}: {text}" if of else text for text, of in merged.items()]


def _protocol(
    model: Model,
    images: EvaluationImages,
    options: EvaluationOptions,
    paired: bool,
    digests: dict[str, str],
) -> dict[str, Any]:
    dataset, config = images.dataset, images.config
    of_images = {
        "models": _models(model),
        "data": config.path,
        "split": images.split,
        "pairs": paired,
        "layout": dataset.index.layout,
        "hold_out": config.hold_out,
        "size": text_of_size(config),
        "resize_filter": {side: dataset.domains[side].config.resize for side in "ab"},
        "file_types": {
            side: dict(
                Counter(PurePosixPath(one.name).suffix.lower() for one in dataset.sources(side))
            )
            for side in "ab"
        },
        "policy": options.policy,
        "flips": options.flips,
        "seed": options.seed,
        "nodata": {
            side: nodata_protocol(dataset.domains[side], _masks_digest(dataset, side))
            for side in "ab"
        },
    }
    return protocol(of_images, "all targets of the split", digests)


def _masks_digest(dataset: ImageDataset, side: str) -> str:
    """Return the SHA-256 of the masks of a domain, or "" if it has none."""
    masks = [mask for (domain, _), mask in dataset.index.masks.items() if domain == side]
    contents = [hashlib.sha256(mask.read()).digest() for mask in masks]
    return hashlib.sha256(b"".join(contents)).hexdigest() if contents else ""


def _models(model: Model) -> dict[str, dict[str, Any]]:
    return {
        direction: {
            "file": str(file),
            "sha256": sha256(file),
            "images_processed": model.headers[direction].get("images_processed"),
            "weights": model.headers[direction].get("weights"),
        }
        for direction, file in model.files.items()
    }
