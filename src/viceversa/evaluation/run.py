"""Translate every image, and measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import ImageDataset
from ..errors import UserError
from ..images.domain import Domain, DomainConfig
from ..images.labels import palette
from ..images.values import data_mask, fill_nodata, has_data, quantized, to_pixels, to_rgb
from ..inference import Translator
from ..metrics.intervals import bootstrap
from ..metrics.labels import confusion, iou, mean_iou, pixel_accuracy
from ..metrics.registry import FEW_IMAGES, WAYS, label, of_few_images
from .accumulator import NEEDS, PAIRS_ONLY, Features, Measures, features_for
from .inputs import EvaluationImages, Model, open_images, open_model
from .options import Options

Progress = Callable[[int, int], None]


@dataclass
class DirectionMetrics:
    """The numbers of one way."""

    way: str
    names: list[str]
    """Of the sources, in order."""
    each: dict[str, list[float]]
    """metric -> a value for each source."""
    intervals: dict[str, tuple[float, float, float]]
    """metric -> mean, and the 95 % interval of it."""
    sets: dict[str, float]
    """swd, fid, kid, kid_deviation; pixel_accuracy and mean_iou."""
    classes: list[float]
    """IoU of each class, where there are classes."""
    made: int
    real: int
    """Translations, and real images that they were compared with as sets."""

    @property
    def fewest(self) -> int:
        """Images of the smaller set."""
        return min(self.made, self.real)


@dataclass
class Evaluation:
    """All of it."""

    options: Options
    model: Model
    images: EvaluationImages
    paired: bool
    ways: list[DirectionMetrics]
    features: Features
    notes: list[str] = field(default_factory=list)


def measure(options: Options, progress: Progress = lambda done, total: None) -> Evaluation:
    """Translate a split, and measure. Raises UserError for what does not fit, before or in it."""
    model = open_model(options)
    paired = model.paired if options.pairs == "auto" else options.pairs == "yes"
    images = open_images(options, model, paired)
    device = next(iter(model.translators.values())).device
    result = Evaluation(options, model, images, paired, [], Features({}, {}))
    result.notes += images.notes
    result.features = _features(result, device)
    total = sum(len(images.pictures.sources(way[0])) for way in model.translators)
    done = 0
    everyone = [_Taken(result, way) for way in model.translators]
    _refuse_what_cannot_be_had(result, everyone)
    for way, taken in zip(model.translators, everyone, strict=True):
        empty: list[str] = []
        size = options.batch_size
        for names, source, target in _batches(images.pictures, way, paired, size, empty):
            taken.take(names, source, target)
            done += len(names)
            progress(done, total)
        if empty:
            what = (
                "pairs without a pixel that has data in both" if paired else "images without data"
            )
            result.notes.append(f"{way}: left out {len(empty)} {what}, the first is {empty[0]}")
        result.ways.append(taken.result())
    result.notes = _of_both_ways(result.notes)
    result.notes += images.pictures.store.other_dtypes
    return result


def _of_both_ways(notes: list[str]) -> list[str]:
    """Notes with the same text about two directions as one."""
    ways: dict[str, list[str]] = {}
    for note in notes:
        way, _, text = note.partition(": ")
        ways.setdefault(text if way in WAYS else note, []).append(way)
    return [f"{' and '.join(of)}: {text}" if of[0] in WAYS else text for text, of in ways.items()]


def _features(result: Evaluation, device: torch.device) -> Features:
    """The feature networks that can be had; of those that can't, a note says how to get them."""
    found = Features({}, {})
    for name in result.options.wanted:
        if name not in NEEDS or NEEDS[name] in found.networks:
            continue
        if name == "lpips" and not result.paired:
            continue
        try:
            more = features_for((name,), result.options.features, device)
        except UserError as error:
            if name in result.options.must:
                raise
            if str(error) not in result.notes:
                result.notes.append(str(error))
            continue
        found.networks.update(more.networks)
        found.digests.update(more.digests)
    return found


def _refuse_what_cannot_be_had(result: Evaluation, everyone: list[_Taken]) -> None:
    """Raises UserError for a metric or an option that was named and could have no effect."""
    options = result.options
    for name in options.metrics:
        if any(name in taken.measures.names for taken in everyone):
            continue
        if name in PAIRS_ONLY:
            raise UserError(f"--metrics {name} compares pairs, and there are none here")
        raise UserError(f"--metrics {name} needs translators of both ways in one folder")
    if options.colours and not result.paired:
        raise UserError("--classes compares pairs, and there are none here")
    if options.colours and all(taken.there.config.kind == "labels" for taken in everyone):
        raise UserError("--classes is for pictures; the target is a label map with its own classes")


class _Taken:
    """One way, batch by batch."""

    def __init__(self, result: Evaluation, way: str):
        self.outcome, self.way = result, way
        self.translator = result.model.translators[way]
        self.back: Translator | None = result.model.translators.get(way[::-1])
        self.here, self.there = self.translator.source, self.translator.target
        networks = result.features.networks
        names = [
            name for name in result.options.wanted
            if (name not in NEEDS or NEEDS[name] in networks)
            and (result.paired or name not in PAIRS_ONLY) and (self.back or name != "cycle")
        ]  # fmt: skip
        self.measures = Measures(names, self.here, self.there, networks)
        self.labels = _classes(self.there, result.options)
        self.confusion: Tensor | None = None
        self.names: list[str] = []

    def take(self, names: list[str], source: Tensor, target: Tensor | None) -> None:
        made = quantized(self.translator.tensor(fill_nodata(source, self.here)), self.there)
        back = quantized(self.back.tensor(made), self.here) if self.back else None
        self.measures.made(source, made, target, back)
        if target is not None:
            self.measures.real(target, source)
            self._count(made, fill_nodata(target, self.there), data_mask(source, target))
        self.names += names

    def _count(self, made: Tensor, target: Tensor, data: Tensor) -> None:
        """Pixels of each class, made and true, where there is data."""
        if self.labels is None:
            return
        where = data.all(dim=1)
        ours, true = self.labels(made)[where], self.labels(target)[where]
        classes = self.there.config.width
        if self.outcome.options.colours and self.there.config.kind != "labels":
            classes = len(self.outcome.options.colours)
        found = confusion(ours, true, classes)
        self.confusion = found if self.confusion is None else self.confusion + found

    def result(self) -> DirectionMetrics:
        """All numbers, now that every image was taken."""
        pictures, there = self.outcome.images.pictures, self.way[1]
        real = len(pictures.sources(there))
        if not self.outcome.paired:
            for index in range(real):
                image = pictures.values(there, index, torch.device("cpu"))
                if bool(has_data(image, image)):
                    self.measures.real(image)
        sets = self.measures.sets()
        classes: list[float] = []
        if self.confusion is not None:
            sets["pixel_accuracy"] = pixel_accuracy(self.confusion)
            sets["mean_iou"] = mean_iou(self.confusion)
            classes = iou(self.confusion).tolist()
        missed = self.measures.missed
        reasons = {why: [name for name in missed if missed[name] == why] for why in missed.values()}
        notes = [f"{self.way}: without {', '.join(reasons[why])}: {why}" for why in reasons]
        notes += [
            f"{self.way}: {label(name)} of {len(self.names)} translations and {real} real images: "
            f"{FEW_IMAGES[name].why}"
            for name in sets
            if of_few_images(name, min(len(self.names), real))
        ]
        notes += [f"{self.way}: {note}" for note in self.measures.notes]
        self.outcome.notes += notes
        each = self.measures.each
        intervals = {name: _interval(each[name]) for name in self.measures.names if name in each}
        return DirectionMetrics(
            self.way, self.names, each, intervals, sets, classes, len(self.names), real
        )


def _interval(values: list[float]) -> tuple[float, float, float]:
    """The mean and its 95 % interval, of what is not infinite."""
    finite = torch.tensor([value for value in values if not math.isinf(value)], dtype=torch.float64)
    if not len(finite):
        return math.inf, math.inf, math.inf
    return float(finite.mean()), *bootstrap(finite)


def _classes(domain: Domain, options: Options) -> Callable[[Tensor], Tensor] | None:
    """How the classes of images (n, channels, h, w) are had, (n, h, w); None where there are none.

    Of a label map the likeliest; of a picture, where colours are named, the nearest colour.
    """
    if domain.config.kind == "labels":
        return lambda images: images.argmax(dim=1)
    if not options.colours:
        return None
    colours = torch.from_numpy(
        palette(DomainConfig(kind="labels", classes=tuple(options.colours))).astype(np.float32)
    )

    def nearest(images: Tensor) -> Tensor:
        pixels = np.stack(to_pixels(to_rgb(images, domain), Domain())).astype(np.float32)
        return _nearest(torch.from_numpy(pixels), colours)

    return nearest


def _nearest(pixels: Tensor, colours: Tensor) -> Tensor:
    """(n, h, w, 3) -> (n, h, w): the number of the nearest colour."""
    flat = pixels.flatten(0, 2)
    return torch.cdist(flat, colours).argmin(dim=1).view(pixels.shape[:3])


def _batches(
    pictures: ImageDataset, way: str, paired: bool, most: int, empty: list[str]
) -> Iterator[tuple[list[str], Tensor, Tensor | None]]:
    """(names, sources, targets) of neighbours of one size, on the CPU, in [-1, 1].

    NaN where they have no data; the names of those that have none at all are added to `empty`.
    """
    here, there = way[0], way[1]
    names: list[str] = []
    held: list[tuple[Tensor, Tensor | None]] = []
    cpu = torch.device("cpu")
    for index, source in enumerate(pictures.sources(here)):
        image = pictures.values(here, index, cpu)
        target = pictures.values(there, index, cpu) if paired else None
        if target is not None and target.shape[2:] != image.shape[2:]:
            sizes = [f"{one.shape[3]}x{one.shape[2]}" for one in (image, target)]
            raise UserError(
                f"{source} has {sizes[0]} pixels and its target {sizes[1]}; --size 256 (or another "
                "number) brings both to one size"
            )
        if not bool(has_data(image, image if target is None else target)):
            empty.append(str(source))
            continue
        if held and (len(held) == most or held[0][0].shape != image.shape):
            yield names, *_together(held)
            names, held = [], []
        names.append(str(source))
        held.append((image, target))
    if held:
        yield names, *_together(held)


def _together(held: list[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    sources, targets = zip(*held, strict=True)
    known = [target for target in targets if target is not None]
    return torch.cat(sources), torch.cat(known) if known else None
