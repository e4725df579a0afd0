"""Metrics of one direction: accumulated batch by batch, then averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from ..config.evaluation import EvaluationOptions
from ..errors import UserError
from ..images.domain import Domain, DomainConfig
from ..images.labels import palette
from ..images.values import data_mask, fill_nodata, to_pixels, to_rgb
from ..metrics.intervals import bootstrap
from ..metrics.labels import confusion, iou
from ..metrics.registry import METRICS, is_unreliable, label, needs_pairs
from .accumulator import Features, MetricAccumulator, load_features
from .inputs import EvaluationBatch
from .results import DirectionMetrics, ImageFiles
from .value_range import ValueRange

ABSENT = {
    "pair": "compares pairs, but the images are unpaired",
    "cycle": "needs translators of both directions in one folder",
    "source": "compares translations with their sources, and there are none",
}
"""Why a metric cannot be computed, by what it compares."""
FEW = 10  # images below which a bootstrap interval of 95 % covers the mean in less than about 90 %


class DirectionEvaluator:
    """Accumulates the metrics of the outputs of one direction.

    Args:
        direction: `ab` or `ba`.
        domains: Domain of the sources, and domain of the outputs.
        compares: What is known: `pair`, `source`, `cycle`, `sets` (see `Metric.compares`).
        options: The options.
        features: Feature networks that are available.
    """

    def __init__(
        self,
        direction: str,
        domains: tuple[Domain, Domain],
        compares: Collection[str],
        options: EvaluationOptions,
        features: Features,
    ) -> None:
        self.direction, (source, self.target) = direction, domains
        names = [
            name
            for name in options.requested
            if METRICS[name].network in ("", *features.networks)
            and METRICS[name].compares in compares
        ]
        self.accumulator = MetricAccumulator(names, source, self.target, features.networks)
        self.labels = LabelMaps.of(self.target, options.colours)
        self.files: list[ImageFiles] = []

    def add(self, batch: EvaluationBatch, output: Tensor, cycle: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            batch: Sources, and targets if they are known.
            output: Outputs, as their files store them.
            cycle: The outputs, translated back.
        """
        self.accumulator.add(batch.source, output, batch.target, cycle)
        if batch.target is not None:
            self.accumulator.add_real(batch.target, batch.source)
            if self.labels is not None:
                valid = data_mask(batch.source, batch.target).all(dim=1)
                self.labels.add(output, fill_nodata(batch.target, self.target), valid)
        self.files += batch.files

    def result(
        self, description: str, translations: int, real: int
    ) -> tuple[DirectionMetrics, list[str]]:
        """Return the metrics, and notes on them.

        Args:
            description: Number and kind of the images.
            translations: Number of generated images.
            real: Number of real images.
        """
        sets = self.accumulator.compute_sets()
        matrix = None if self.labels is None else self.labels.confusion
        if matrix is not None:
            sets |= {
                name: one.load()(matrix)
                for name, one in METRICS.items()
                if one.compares == "labels"
            }
        values = self.accumulator.values
        names = [name for name in METRICS if name in values]
        metrics = DirectionMetrics(
            self.direction,
            description,
            self.files,
            ValueRange.of(self.target),
            values,
            {name: _interval(values[name]) for name in names},
            sets,
            [] if matrix is None else iou(matrix).tolist(),
            translations,
            real,
        )
        return metrics, [f"{self.direction}: {note}" for note in self._notes(metrics)]

    def _notes(self, metrics: DirectionMetrics) -> list[str]:
        missed = self.accumulator.unavailable
        reasons = {why: [name for name in missed if missed[name] == why] for why in missed.values()}
        few = [
            f"{label(name)} of {metrics.translations} translations and {metrics.real} real images: "
            f"{METRICS[name].reliable[1]}"
            for name in metrics.sets
            if is_unreliable(name, metrics.smaller_set)
        ]
        count = len(metrics.files)
        if metrics.intervals and count < FEW:
            few.append(
                f"the 95 % intervals are of {count} images and too narrow; they need at least {FEW}"
            )
        without = [f"without {', '.join(names)}: {why}" for why, names in reasons.items()]
        return [*without, *few, *self.accumulator.notes]


def available_features(
    options: EvaluationOptions, paired: bool, device: torch.device
) -> tuple[Features, list[str]]:
    """Load the feature networks that are available; notes say how to get the others.

    Raises UserError if a metric that is named needs another one.
    """
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


def refuse_ineffective(
    options: EvaluationOptions, paired: bool, evaluators: Sequence[DirectionEvaluator]
) -> None:
    """Raise UserError for a named metric or an option that would have no effect."""
    for name in options.metrics:
        if not any(name in one.accumulator.metrics for one in evaluators):
            raise UserError(
                f"--metrics {name} {ABSENT[METRICS[name].compares]}", option="--metrics"
            )
    if options.colours and not paired:
        raise UserError("--classes compares pairs, but the images are unpaired", option="--classes")
    if options.colours and all(one.target.config.kind == "labels" for one in evaluators):
        raise UserError(
            "--classes is for RGB images; the target is a label map with its own classes",
            option="--classes",
        )


class LabelMaps:
    """Confusion matrix of the classes of outputs and targets.

    Args:
        classify: (n, channels, h, w) in [-1, 1] -> classes (n, h, w).
        classes: Number of classes.
    """

    def __init__(self, classify: Callable[[Tensor], Tensor], classes: int) -> None:
        self.classify, self.classes = classify, classes
        self.confusion: Tensor | None = None

    @classmethod
    def of(cls, domain: Domain, colours: Sequence[str]) -> LabelMaps | None:
        """Return those of a domain of label maps, or of RGB images whose classes have `colours`."""
        if domain.config.kind == "labels":
            return cls(lambda images: images.argmax(dim=1), domain.config.width)
        if not colours:
            return None
        config = DomainConfig(kind="labels", classes=tuple(colours))
        known = torch.from_numpy(palette(config).astype(np.float32))

        def nearest(images: Tensor) -> Tensor:
            pixels = torch.from_numpy(np.stack(to_pixels(to_rgb(images, domain), Domain()))).float()
            classes = torch.cdist(pixels.flatten(0, 2), known).argmin(dim=1)
            return classes.view(pixels.shape[:3])

        return cls(nearest, len(colours))

    def add(self, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Count the pixels where `valid`, (n, h, w), is true."""
        predicted, true = self.classify(output)[valid], self.classify(target)[valid]
        matrix = confusion(predicted, true, self.classes)
        self.confusion = matrix if self.confusion is None else self.confusion + matrix


def _interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval of the values that are not infinite."""
    finite = torch.tensor([value for value in values if not math.isinf(value)], dtype=torch.float64)
    if not len(finite):
        return math.inf, math.inf, math.inf
    return float(finite.mean()), *bootstrap(finite)
