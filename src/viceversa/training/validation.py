"""Numbers of the generators on images that they do not learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from ..config.run import RunConfig
from ..data.dataset import ImageDataset
from ..data.open import Datasets
from ..directions import in_data
from ..errors import UserError
from ..evaluation.accumulator import Features, MetricAccumulator, load_features
from ..images.values import fill_nodata, has_data, quantized
from ..methods.base import Discriminator
from ..metrics.registry import METRICS, default_metrics
from ..networks.sizes import at_any_size
from .snapshot import Players, scores_of

Errors = dict[str, float]
LEARNT = 32  # training images that are measured too, to compare with those held out


class Validation:
    """Measures generators on the first held-out images, whole, as files would hold the results.

    Paired: of the one way there is. Unpaired: of both ways, `swd_ab` and so on by the domains as
    they lie on disk, and `swd` is the mean of the two; with `validate.pairs` also the metrics of
    pairs.
    """

    def __init__(
        self, config: RunConfig, data: Datasets, device: torch.device,
        check: Callable[[], None] = lambda: None,
    ):  # fmt: skip
        """`check` is called before each image; it may raise to interrupt a validation."""
        assert data.held_out is not None
        validate, self.device, self._check = config.validate, device, check
        self.paired, self.direction = config.paired, config.data.direction
        self.pairs = config.paired or validate.pairs
        self.held_out, self.learnt = data.held_out, data.train_eval
        self.count = min(validate.images, *self.held_out.lengths)
        first = next(self._images(self.held_out, self.count, "ab"), None)
        self.size = tuple(first[1].shape[2:]) if first is not None else ()
        # A metric that nobody named, and that nothing hangs on, may be lacking.
        if validate.best_metric != "auto" or validate.patience:
            self._refuse(validate.chosen(self.paired), data.split)
        of_pairs = default_metrics(True) if self.pairs and not self.paired else ()
        self.names = (*default_metrics(self.paired), *of_pairs, *validate.extra_metrics)
        folder = Path(validate.features) if validate.features else None
        self.features: Features = load_features(self.names, folder, device)
        self.missed: dict[str, str] = {}  # metric -> why it can't be had, of those not yet told
        self._told: set[str] = set()
        what = "pairs" if validate.pairs and not self.paired else "images"
        self.told = f"validation on {self.count} {what} of {data.split}"
        if self.size:
            self.told += f" (first image: {self.size[1]} x {self.size[0]} pixels)"
        self.measured = 0  # images that the latest numbers are of
        # What tells the held-out images from others; earlier versions went by their names.
        self.of, self.of_names = (
            hashlib.sha256(f"{self.count} {self.size} {images}".encode()).hexdigest()
            for images in (self.held_out.contents.fingerprint, self.held_out.names_hash())
        )

    def _refuse(self, best: str, split: str) -> None:
        """Raises UserError where the best can't be chosen by a metric on such images."""
        side, least = METRICS[best].smallest_side, METRICS[best].smallest_count
        if self.count < least:
            raise UserError(
                f"validate.best_metric {best} needs at least {least} held-out images to validate "
                f"on, and there are {self.count} of {split}; name another metric"
            )
        if self.size and min(self.size) < side:
            raise UserError(
                f"validate.best_metric {best} needs images of at least {side} x {side} pixels, "
                f"and the first held-out one has {self.size[1]} x {self.size[0]}; name another "
                "metric"
            )

    def __call__(self, generators: dict[str, nn.Module]) -> dict[str, float]:
        """Every metric of generators in use: on copies of their own, without dropout.

        Nothing where no image can be read any more.
        """
        return self._measured(generators, self.held_out, self.count, self.names)

    def errors(self, players: Players, held_out: dict[str, float]) -> tuple[Errors, Errors, Errors]:
        """What tells over-fitting: errors on some images of training, and those on images held out.

        Unpaired, discriminators' mean scores as well: on real images of training, on those held
        out, and on translations of the former (only they are in the third).
        """
        name = "l1" if self.paired else "cycle"
        count = min(LEARNT, *self.learnt.lengths)
        learnt = self._measured(players.generators, self.learnt, count, (name,))
        others = {name: held_out[name]} if name in held_out else {}  # one direction has no cycle
        if others and not learnt:
            return {}, {}, {}
        made: Errors = {}
        if self.paired:
            return learnt, others, {}
        for way, generator in players.generators.items():
            if (discriminator := players.discriminators.get(way[1])) is None:
                continue
            domain = f"d_{in_data(way[1], self.direction)}"
            learnt[domain], others[domain] = (
                self._scores(discriminator, pictures, way)
                for pictures in (self.learnt, self.held_out)
            )
            made[domain] = self._scores(discriminator, self.learnt, way, generator)
        return {k: learnt[k] for k in others}, others, made

    @torch.no_grad()
    def _scores(
        self,
        discriminator: Discriminator,
        pictures: ImageDataset,
        way: str,
        generator: nn.Module | None = None,
    ) -> float:
        """A discriminator's mean score on real images, or on a generator's translations."""
        total, count = 0.0, 0
        for source, target in self._images(pictures, min(LEARNT, *pictures.lengths), way):
            here, there = (pictures.domains[side] for side in pictures.direction)
            if way != "ab":
                here, there = there, here
            source, target = fill_nodata(source, here), fill_nodata(target, there)
            image = target if generator is None else at_any_size(generator, source)
            scores = scores_of(discriminator, source, image)
            total, count = total + float(scores.mean()), count + 1
        return total / max(count, 1)

    @torch.no_grad()
    def _measured(
        self, generators: dict[str, nn.Module], pictures: ImageDataset, count: int,
        names: tuple[str, ...],
    ) -> dict[str, float]:  # fmt: skip
        found: dict[str, dict[str, float]] = {}
        for way in generators:
            sides = pictures.direction if way == "ab" else pictures.direction[::-1]
            here, there = (pictures.domains[side] for side in sides)
            measures = MetricAccumulator(names, here, there, self.features.networks)
            taken = 0
            for source, target in self._images(pictures, count, way):
                made = quantized(at_any_size(generators[way], fill_nodata(source, here)), there)
                back = None
                if other := generators.get(way[::-1]):
                    back = quantized(at_any_size(other, made), here)
                measures.add(source, made, target if self.pairs else None, back)
                measures.add_real(target, source)
                taken += 1
            if pictures is self.held_out:
                self.measured = taken
            if not taken:
                return {}
            found[in_data(way, self.direction)] = measures.compute()
            self.missed |= {k: v for k, v in measures.missed.items() if k not in self._told}
            self._told |= self.missed.keys()
        if self.paired:
            return next(iter(found.values()))
        ways = list(found.values())
        means = {name: sum(way[name] for way in ways) / len(ways) for name in ways[0]}
        return means | {f"{name}_{way}": v for way, of in found.items() for name, v in of.items()}

    def _images(
        self, pictures: ImageDataset, count: int, way: str
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(source, target) of each place, one at a time: whole images differ in size.

        NaN where they have no data. Pairs that have none in common are left out, as files are that
        turned out bad.
        """
        for position in range(count):
            self._check()
            batch = pictures.batch([(1, position)], self.device, fill=False)
            if batch is None:
                continue
            source, target = batch if way == "ab" else batch[::-1]
            ends = [(source, target)] if self.paired else [(source, source), (target, target)]
            if all(bool(has_data(*one)) for one in ends):
                yield source, target
