"""Validation: metrics of the generators on held-out images during training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from ..config.run import RunConfig
from ..data.open import Datasets
from ..data.user import SplitDataset
from ..directions import ENDS, Direction, in_data, opposite
from ..errors import UserError
from ..evaluation.accumulator import Features, MetricAccumulator, load_features
from ..fields import pixels_text
from ..images.values import fill_nodata, fill_output, has_data, quantized
from ..methods.base import Discriminator
from ..metrics.registry import METRICS, UNIT_METRIC, default_metrics
from ..networks.sizes import at_any_size
from .snapshot import Generators, Snapshot, scores_of

Errors = dict[str, float]
TRAIN_IMAGES = 32  # training images that are evaluated too, to compare with held-out ones


class Validation:
    """Evaluate generators on the first held-out images, uncropped, as files would store the output.

    A paired method of one direction has metrics such as `l1`. Others have them for each direction,
    `swd_ab` and so on, named by the domains of the dataset, and their mean `swd`; with
    `validate.pairs` also the metrics of pairs.

    Args:
        config: The settings of the run.
        data: Its datasets, with held-out images.
        device: Where the generators are.
        check: Called before each image; it may raise to interrupt a validation.

    Raises:
        UserError: The best model cannot be chosen by the requested metric.
    """

    def __init__(
        self,
        config: RunConfig,
        data: Datasets,
        device: torch.device,
        check: Callable[[], None] = lambda: None,
    ):
        assert data.held_out is not None
        validate, self.device, self._check = config.validate, device, check
        self.paired, self.direction = config.paired, config.data.direction
        self.pairs = config.paired or validate.pairs
        self.held_out, self.train_eval = data.held_out, data.train_eval
        self.count = min(validate.images, *self.held_out.lengths)
        first = next(self._images(self.held_out, self.count, "ab"), None)
        self.size = tuple(first[1].shape[2:]) if first is not None else ()
        # The default metric may be unavailable, unless the end of training depends on it.
        if validate.best_metric != "auto" or validate.patience:
            self._check_best_metric(validate.chosen(self.paired), data.split)
        of_pairs = default_metrics(True) if self.pairs and not self.paired else ()
        self.names = (*default_metrics(self.paired), *of_pairs, *validate.extra_metrics)
        folder = Path(validate.features) if validate.features else None
        self.features: Features = load_features(self.names, folder, device)
        self.unavailable: dict[str, str] = {}  # metric -> reason, of those not reported yet
        self._reported: set[str] = set()
        what = "pairs" if validate.pairs and not self.paired else "images"
        self.description = f"validation on {self.count} {what} of {data.split}"
        if self.size:
            self.description += f" (first image: {pixels_text(*self.size)})"
        self.evaluated = 0  # images of the latest validation
        # Digests of the held-out images: by contents, and by names as in earlier versions.
        self.of, self.of_names = (
            hashlib.sha256(f"{self.count} {self.size} {images}".encode()).hexdigest()
            for images in (self.held_out.contents.fingerprint, self.held_out.names_hash())
        )

    def _check_best_metric(self, best: str, split: str) -> None:
        """Raise UserError if the metric is not available for such images."""
        side, least = METRICS[best].smallest_side, METRICS[best].smallest_count
        if self.count < least:
            raise UserError(
                f"validate.best_metric {best} needs at least {least} held-out images, and {split} "
                f"has {self.count}; choose another metric",
                option="validate.best_metric",
            )
        if self.size and min(self.size) < side:
            raise UserError(
                f"validate.best_metric {best} needs images of at least {side} x {side} pixels, and "
                f"the first one is {pixels_text(*self.size)}; choose another metric",
                option="validate.best_metric",
            )

    def __call__(self, generators: Generators) -> dict[str, float]:
        """Return every metric of generators in eval mode; empty if no image can be read."""
        return self._evaluate(generators, self.held_out, self.count, self.names)

    def errors(self, copies: Snapshot, held_out: dict[str, float]) -> tuple[Errors, Errors, Errors]:
        """Return what shows overfitting: errors on training images and on held-out images.

        Unpaired, also the discriminators' mean scores on real training images, on held-out images,
        and on translations of training images (only they are in the third result).
        """
        name = "l1" if self.paired else "cycle"
        count = min(TRAIN_IMAGES, *self.train_eval.lengths)
        train = self._evaluate(copies.generators, self.train_eval, count, (name,))
        others = {name: held_out[name]} if name in held_out else {}  # one direction has no cycle
        if others and not train:
            return {}, {}, {}
        generated: Errors = {}
        if self.paired:
            return train, others, {}
        for direction, generator in copies.generators.items():
            target = ENDS[direction][1]
            if (discriminator := copies.discriminators.get(target)) is None:
                continue
            name = f"d_{in_data(target, self.direction)}"
            train[name], others[name] = (
                self._mean_score(discriminator, dataset, direction)
                for dataset in (self.train_eval, self.held_out)
            )
            generated[name] = self._mean_score(discriminator, self.train_eval, direction, generator)
        return {k: train[k] for k in others}, others, generated

    @torch.no_grad()
    def _mean_score(
        self,
        discriminator: Discriminator,
        dataset: SplitDataset,
        direction: Direction,
        generator: nn.Module | None = None,
    ) -> float:
        """Return a discriminator's mean score on real images, or on a generator's translations."""
        total, count = 0.0, 0
        for source, target in self._images(dataset, min(TRAIN_IMAGES, *dataset.lengths), direction):
            here, there = dataset.domains_of(direction)
            filled, target = fill_nodata(source, here), fill_nodata(target, there)
            image = target
            if generator is not None:
                image = fill_output(at_any_size(generator, filled), source, there)
            source = filled
            scores = scores_of(discriminator, source, image)
            total, count = total + float(scores.mean()), count + 1
        return total / max(count, 1)

    @torch.no_grad()
    def _evaluate(
        self,
        generators: Generators,
        dataset: SplitDataset,
        count: int,
        names: tuple[str, ...],
    ) -> dict[str, float]:
        """Return metrics of generators on the first `count` images of a dataset."""
        found: dict[str, dict[str, float]] = {}
        for direction, generator in generators.items():
            here, there = dataset.domains_of(direction)
            metrics = MetricAccumulator(names, here, there, self.features.networks)
            evaluated = 0
            for source, target in self._images(dataset, count, direction):
                output = at_any_size(generator, fill_nodata(source, here))
                output = quantized(fill_output(output, source, there), there)
                cycled = None
                if other := generators.get(opposite(direction)):
                    cycled = quantized(at_any_size(other, output), here)
                metrics.add(source, output, target if self.pairs else None, cycled)
                metrics.add_real(target, source)
                evaluated += 1
            if dataset is self.held_out:
                self.evaluated = evaluated
            if not evaluated:
                return {}
            found[in_data(direction, self.direction)] = metrics.compute()
            missed = metrics.unavailable.items()
            self.unavailable |= {k: v for k, v in missed if k not in self._reported}
            self._reported |= self.unavailable.keys()
        directions = list(found.values())
        if self.paired and len(directions) == 1:
            return directions[0]
        means = {
            name: sum(of[name] for of in directions) / len(directions)
            for name in directions[0]
            if name != UNIT_METRIC  # A and B may have different units
        }
        return means | {
            f"{name}_{direction}": v for direction, of in found.items() for name, v in of.items()
        }

    def _images(
        self, dataset: SplitDataset, count: int, direction: Direction
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (source, target) one at a time, since uncropped images differ in size.

        Pixels without data are NaN. Pairs without common data, and invalid files, are left out.
        """
        for position in range(count):
            self._check()
            batch = dataset.batch([(1, position)], self.device, fill=False)
            if batch is None:
                continue
            source, target = batch.of(direction)
            ends = [(source, target)] if self.paired else [(source, source), (target, target)]
            if all(bool(has_data(*one)) for one in ends):
                yield source, target
