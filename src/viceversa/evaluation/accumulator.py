"""Metrics of one direction: accumulated over images, then averaged.

Validation and evaluation use the same accumulator, so that their values are comparable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..images.domain import Domain
from ..images.values import data_mask, fill_nodata, to_pixels, to_rgb
from ..metrics.limits import PEAK
from ..metrics.registry import METRICS, UNIT_METRIC, Metric
from .features import load, pool3

SET_BYTES = 2**29  # of images kept per set, for metrics of sets of images


class Features(NamedTuple):
    """Feature networks, and the SHA-256 of their files, by name."""

    networks: dict[str, nn.Module]
    digests: dict[str, str]


def load_features(metrics: Sequence[str], folder: Path | None, device: torch.device) -> Features:
    """Load the feature networks of metrics. Raises UserError if one is missing."""
    features = Features({}, {})
    for name in dict.fromkeys(METRICS[metric].network for metric in metrics):
        if name:
            network, features.digests[name] = load(name, folder)
            features.networks[name] = network.to(device)
    return features


@dataclass
class _ImageSet:
    """Images of one set, the first ones up to SET_BYTES, and their features by network."""

    images: list[Tensor] = field(default_factory=list)
    size: int = 0
    truncated: bool = False
    features: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, images: Tensor) -> None:
        for image in images.cpu().float():
            self.truncated |= bool(self.images) and self.size + 4 * image.numel() > SET_BYTES
            if self.truncated:
                return
            self.images.append(image)
            self.size += 4 * image.numel()


class MetricAccumulator:
    """Metrics of outputs, added in batches.

    Args:
        names: The metrics; `unavailable` has the reason for each that cannot be computed.
        source: Domain of the sources.
        target: Domain of the outputs.
        networks: Feature networks of the metrics, by name.
    """

    def __init__(
        self,
        names: Sequence[str],
        source: Domain,
        target: Domain,
        networks: Mapping[str, nn.Module],
    ) -> None:
        self.metrics: dict[str, Metric] = {name: METRICS[name] for name in names}
        self.source, self.target, self.networks = source, target, networks
        self.values: dict[str, list[float]] = {}  # metric -> a value per image
        self.unavailable: dict[str, str] = {}  # metric -> why it cannot be computed
        self._outputs, self._real = _ImageSet(), _ImageSet()

    @torch.no_grad()
    def add(
        self,
        source: Tensor,
        output: Tensor,
        target: Tensor | None = None,
        reconstruction: Tensor | None = None,
    ) -> None:
        """Add outputs of one size, (n, channels, h, w) in [-1, 1].

        NaN in sources and targets means no data. Metrics of single images without a feature
        network leave these pixels out; for the other metrics they are filled in both images.

        Args:
            source: The inputs.
            output: The outputs for them.
            target: The targets, if known.
            reconstruction: The outputs, translated back by the generator of the other direction.
        """
        weight = cycle_weight = None
        if bool(source.isnan().any()) or (target is not None and bool(target.isnan().any())):
            weight, cycle_weight = data_mask(source, target), ~source.isnan()
            output = output.masked_fill(~data_mask(source), self.target.config.nodata_fill)
            source = fill_nodata(source, self.source)
            if target is not None:
                output = output.where(~target.isnan(), self.target.config.nodata_fill)
                target = fill_nodata(target, self.target)
        if target is None and self.target.config.kind == "lab-ab":
            reason = "real colours (a and b) have no lightness without their pairs"
            self.unavailable |= {n: reason for n in self._named("sets") if self.metrics[n].network}
        self._add_to_set(self._outputs, output, source)
        pixel_weight = None if weight is None else weight.any(dim=1, keepdim=True)
        self._add_values("source", source, output, pixel_weight)
        if reconstruction is not None:
            self._add_values("cycle", source, reconstruction, cycle_weight)
        if target is not None:
            self._add_values("pair", output, target, weight, lightness=source)

    @torch.no_grad()
    def add_real(self, target: Tensor, source: Tensor | None = None) -> None:
        """Add real images of the target domain; NaN means no data, and is filled.

        Lab colours are combined with the lightness of their sources.
        """
        self._add_to_set(self._real, fill_nodata(target, self.target), source)

    def compute(self) -> dict[str, float]:
        """Return all metrics: means over images, and distances between the two sets."""
        means = {name: _mean(self.values[name]) for name in METRICS if name in self.values}
        return means | self.compute_sets()

    def compute_sets(self) -> dict[str, float]:
        """Return the distances between outputs and real images, with their deviations if any."""
        results: dict[str, float] = {}
        for name in self._named("sets"):
            metric = self.metrics[name]
            sets = self._sets(metric)
            sizes = [len(one) for one in sets]
            if min(sizes) < metric.smallest_count:
                if metric.network:
                    self.unavailable[name] = (
                        f"it needs at least {metric.smallest_count} images in each set, and there "
                        f"are {sizes[0]} and {sizes[1]}"
                    )
                continue
            value = metric.load()(*sets)
            if isinstance(value, tuple):
                results[name], results[f"{name}_deviation"] = value
            else:
                results[name] = value
        return results

    def _named(self, compares: str) -> list[str]:
        """The metrics of a kind that can be computed."""
        return [
            name
            for name, metric in self.metrics.items()
            if metric.compares == compares
            and name not in self.unavailable
            and (not metric.network or metric.network in self.networks)
        ]

    def _sets(self, metric: Metric) -> Sequence[Tensor]:
        """Outputs and real images as a metric of sets compares them."""
        sets = self._outputs, self._real
        if metric.network:
            features = (one.features.get(metric.network) for one in sets)
            return [torch.cat(some) if some else torch.empty(0, 1) for some in features]
        if not all(one.images for one in sets):
            return [torch.empty(0), torch.empty(0)]
        return _cropped_to_one_size(*(one.images for one in sets))

    def _add_to_set(self, images: _ImageSet, values: Tensor, lightness: Tensor | None) -> None:
        names = [name for name in self._named("sets") if self._is_large_enough(name, values)]
        networks = dict.fromkeys(self.metrics[name].network for name in names)
        if "" in networks:
            images.add(values)
        for network in filter(None, networks):
            rgb = _rgb(values, self.target, lightness)
            features = pool3(self.networks[network], rgb)
            images.features.setdefault(network, []).append(features)

    def _add_values(
        self,
        compares: str,
        x: Tensor,
        y: Tensor,
        weight: Tensor | None,
        lightness: Tensor | None = None,
    ) -> None:
        """Add the values of the metrics of a kind."""
        for name in self._named(compares):
            metric = self.metrics[name]
            if not self._is_large_enough(name, y):
                continue
            if metric.network:
                network = self.networks[metric.network]
                device = next(network.parameters()).device
                rgb = (_rgb(one, self.target, lightness).to(device) / 127.5 - 1 for one in (x, y))
                values = metric.load()(network, *rgb)
            else:
                values = metric.load()(x, y, weight)
            self.values.setdefault(name, []).extend(values.tolist())
            if name == "l1" and self.target.config.unit:
                values = metric.load()(self._in_unit(x), self._in_unit(y), weight)
                self.values.setdefault(UNIT_METRIC, []).extend(values.tolist())

    def _in_unit(self, images: Tensor) -> Tensor:
        """Scale images of the target domain so that differences are in the unit of its files."""
        span = torch.tensor([self.target.low, self.target.high], dtype=torch.float64).diff(dim=0)
        return images.double() * (span[0, :, None, None] / PEAK).to(images.device)

    def _is_large_enough(self, name: str, images: Tensor) -> bool:
        """Whether a metric can be computed of images of this size."""
        (height, width), side = images.shape[2:], self.metrics[name].smallest_side
        if min(height, width) >= side:
            return True
        self.unavailable[name] = (
            f"it needs images of at least {side} x {side} pixels, and one is {width} x {height}"
        )
        self.values.pop(name, None)
        return False

    @property
    def notes(self) -> list[str]:
        """Notes on the values, besides `missed`."""
        notes = []
        if self._outputs.truncated or self._real.truncated:
            names = ", ".join(n for n in self._named("sets") if not self.metrics[n].network)
            notes.append(
                f"{names} compares the first {len(self._outputs.images)} translations and "
                f"{len(self._real.images)} real images: more do not fit in memory"
            )
        for name, values in self.values.items():
            if infinite := sum(math.isinf(value) for value in values):
                notes.append(
                    f"{name} of {infinite} images is infinite: they equal their targets; the mean "
                    "is of the others"
                )
        return notes


def _mean(values: Sequence[float]) -> float:
    """Mean of the values that are not infinite: PSNR of two equal images is."""
    rest = [value for value in values if not math.isinf(value)]
    return float(torch.tensor(rest, dtype=torch.float64).mean()) if rest else math.inf


def _rgb(images: Tensor, domain: Domain, lightness: Tensor | None) -> Tensor:
    """(n, channels, h, w) in [-1, 1] -> (n, 3, h, w) uint8, as displayed."""
    pixels = to_pixels(to_rgb(images, domain, lightness), Domain())
    return torch.stack([torch.from_numpy(one).movedim(2, 0) for one in pixels])


def _cropped_to_one_size(*sets: list[Tensor]) -> list[Tensor]:
    """Crop the centre of each image to the smallest height and width of all."""
    height, width = (min(one.shape[axis] for some in sets for one in some) for axis in (1, 2))
    return [torch.stack([_centre(one, height, width) for one in some]) for some in sets]


def _centre(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]
