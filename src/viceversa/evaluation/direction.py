"""Evaluation of one direction: translate its images batch by batch, and accumulate metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import ImageDataset
from ..images.domain import Domain, DomainConfig
from ..images.labels import palette
from ..images.values import data_mask, fill_nodata, has_data, quantized, to_pixels, to_rgb
from ..inference import Translator
from ..metrics.intervals import bootstrap
from ..metrics.labels import confusion, iou
from ..metrics.registry import METRICS, is_unreliable, label, needs_pairs
from .accumulator import Features, MetricAccumulator
from .inputs import EvaluationBatch, ImageFiles, Model
from .options import EvaluationOptions
from .results import DirectionMetrics
from .value_range import ValueRange


class DirectionEvaluator:
    """Translates the images of one direction and accumulates their metrics."""

    def __init__(
        self,
        direction: str,
        model: Model,
        options: EvaluationOptions,
        features: Features,
        paired: bool,
    ) -> None:
        self.direction, self.paired = direction, paired
        self.translator: Translator = model.translators[direction]
        self.back: Translator | None = model.translators.get(direction[::-1])
        names = [
            name
            for name in options.requested
            if METRICS[name].network in ("", *features.networks)
            and (paired or not needs_pairs(name))
            and (self.back or METRICS[name].compares != "cycle")
        ]
        source, target = self.translator.source, self.translator.target
        self.accumulator = MetricAccumulator(names, source, target, features.networks)
        self.labels = LabelMaps.of(target, options.colours)
        self.files: list[ImageFiles] = []

    def add(self, batch: EvaluationBatch) -> None:
        """Translate a batch and add its metrics."""
        here, there = self.translator.source, self.translator.target
        output = _exact(self.translator.tensor(fill_nodata(batch.source, here).float()), there)
        back = _exact(self.back.tensor(output.float()), here) if self.back else None
        self.accumulator.add(batch.source, output, batch.target, back)
        if batch.target is not None:
            self.accumulator.add_real(batch.target, batch.source)
            if self.labels is not None:
                valid = data_mask(batch.source, batch.target).all(dim=1)
                self.labels.add(output, fill_nodata(batch.target, there), valid)
        self.files += batch.files

    def result(self, dataset: ImageDataset) -> tuple[DirectionMetrics, list[str]]:
        """Return the metrics, and notes on them."""
        there = self.direction[1]
        real = len(dataset.sources(there))
        if not self.paired:
            for index in range(real):
                image = dataset.values(there, index, torch.device("cpu"))
                if bool(has_data(image, image)):
                    self.accumulator.add_real(image)
        sets = self.accumulator.compute_sets()
        matrix = None if self.labels is None else self.labels.confusion
        if matrix is not None:
            sets |= {
                name: one.load()(matrix)
                for name, one in METRICS.items()
                if one.compares == "labels"
            }
        values = self.accumulator.values
        names = [name for name in self.accumulator.metrics if name in values]
        metrics = DirectionMetrics(
            self.direction,
            self.files,
            ValueRange.of(self.translator.target),
            values,
            {name: _interval(values[name]) for name in names},
            sets,
            [] if matrix is None else iou(matrix).tolist(),
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
        without = [f"without {', '.join(names)}: {why}" for why, names in reasons.items()]
        return [*without, *few, *self.accumulator.notes]


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


def _exact(values: Tensor, domain: Domain) -> Tensor:
    """Return values in [-1, 1] as those of the files that translation writes, in float64."""
    return quantized(values.double(), domain)


def _interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval of the values that are not infinite."""
    finite = torch.tensor([value for value in values if not math.isinf(value)], dtype=torch.float64)
    if not len(finite):
        return math.inf, math.inf, math.inf
    return float(finite.mean()), *bootstrap(finite)
