"""Check that networks can train on images of a size, and suggest settings that fit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from ..errors import UserError
from ..fields import ImageSize, as_typed, height_width, pixels_text
from ..images import read_header
from ..methods.base import Method
from ..networks.sizes import multiple_of, nearest_size, size_problem
from .config import DataConfig, is_smaller, resized_size
from .dataset import ImageDataset
from .transforms import has_crop
from .user import SplitDataset

Size = tuple[int, int]
"""Height and width."""
MAX_SIDE = 1024  # largest value of a setting that is tried
MAX_TRIES = 32


def check_sizes(method: Method, dataset: SplitDataset, batch_size: int) -> None:
    """Raise UserError, with settings that fit, if the networks cannot train on the first sample."""
    images = dataset.first()
    # The last batch of an epoch may contain a single image.
    batch = 1 if len(dataset) % batch_size == 1 else batch_size
    if problem := _problem(method, images, _sizes(images), batch):
        if not isinstance(dataset, ImageDataset):
            advice = _size_that_fits(method, images, batch, "the dataset decides the size")
            raise UserError(f"{problem}; {advice}", option="data")
        advice = _settings_that_fit(method, dataset, images, batch) or _size_that_fits(
            method, images, batch, f"data.preprocess {dataset.config.preprocess} decides the size"
        )
        raise UserError(f"{problem}; {advice}", option="data.preprocess")


def check_images(method: Method, images: tuple[Tensor, Tensor], batch: int) -> None:
    """Raise UserError if the networks cannot train on images of this size.

    Args:
        method: The method.
        images: Source and target (channels, h, w).
        batch: Number of images in a batch.
    """
    if problem := _problem(method, images, _sizes(images), batch):
        decides = "data.crop_size and data.preprocess decide the size"
        raise UserError(f"{problem}; {_size_that_fits(method, images, batch, decides)}")


def _sizes(images: tuple[Tensor, Tensor]) -> tuple[Size, Size]:
    source, target = images
    return (source.shape[1], source.shape[2]), (target.shape[1], target.shape[2])


def _problem(
    method: Method, images: tuple[Tensor, Tensor], sizes: tuple[Size, Size], batch: int
) -> str | None:
    """Return why a network cannot train on a source and target of these sizes, or None."""
    channels = {"a": images[0].shape[0], "b": images[1].shape[0]}
    size = dict(zip("ab", sizes, strict=True))
    for direction, network in method.translators().items():
        domain = direction[0]
        if problem := size_problem(network, channels[domain], *size[domain], batch):
            return problem
    for domain, (network, conditional) in method.discriminators().items():
        count = sum(channels.values()) if conditional else channels[domain]
        if problem := size_problem(network, count, *size[domain], batch):
            return problem
    return None


def _size_that_fits(method: Method, images: tuple[Tensor, Tensor], batch: int, decides: str) -> str:
    """Return a clause on the nearest size that fits; `decides`: which setting makes the size."""

    size = _nearest(method, images, _sizes(images)[0], batch)
    text = "no similar size would fit" if size is None else f"{pixels_text(*size)} would fit"
    return f"{text} ({decides}; which sizes fit depends on the options of the networks)"


def _nearest(method: Method, images: tuple[Tensor, Tensor], size: Size, batch: int) -> Size | None:
    """Return the size near another one on which the networks can train; None if there is none."""

    def fits(height: int, width: int) -> bool:
        return _problem(method, images, ((height, width),) * 2, batch) is None

    return nearest_size(*size, _multiple(method), fits)


def _multiple(method: Method) -> int:
    return math.lcm(*(multiple_of(network) for network in method.translators().values()))


def _settings_that_fit(
    method: Method, dataset: ImageDataset, images: tuple[Tensor, Tensor], batch: int
) -> str:
    """Return a clause on the nearest settings that fit, or an empty text."""
    multiple, tries = _multiple(method), 0
    files = [_file_size(dataset, *key) for key in dataset.keys(1, 0)]
    crop = dataset.config.crop_size
    near = None if isinstance(crop, int) else _nearest(method, images, crop, batch)
    for changes in _changes(dataset.config, near):
        try:
            config = dataclasses.replace(dataset.config, **changes)
            source, target = (resized_size(*size, config, "") for size in files)
        except UserError:  # the image or `load_size` is smaller than the crop
            continue
        if has_crop(config):
            source = target = height_width(config.crop_size)
        if any(side % multiple for side in (*source, *target)):
            continue
        tries += 1
        if tries > MAX_TRIES:
            break
        if _problem(method, images, (source, target), batch) is None:
            text = " ".join(f"--data.{name} {as_typed(value)}" for name, value in changes.items())
            return f"{text} gives {pixels_text(*source)}, which fits"
    return ""


def _changes(config: DataConfig, near: Size | None) -> Iterator[dict[str, Any]]:
    """Yield other values of the setting that decides the size, the nearest first.

    If a crop has height and width, `near` is the only one.
    """
    if config.preprocess == "none":
        return
    scaled = config.preprocess in ("scale_width", "scale_shortside")
    name, now = ("load_size", config.load_size) if scaled else ("crop_size", config.crop_size)
    values: list[ImageSize] = [] if near is None else [near]
    if isinstance(now, int):
        middle, largest = now, max(2 * now, MAX_SIDE)
        values = [*sorted(range(1, largest + 1), key=lambda side: abs(side - middle))]
    for value in values:
        larger = config.preprocess == "resize_and_crop" and is_smaller(
            height_width(config.load_size), value
        )
        load = {"load_size": _enlarged(config.load_size, value)} if larger else {}
        yield {**load, name: value}


def _enlarged(load: ImageSize, crop: ImageSize) -> ImageSize:
    """Return the smallest `data.load_size` of the same proportions that contains a crop."""
    sides = height_width(load)
    factor = max(least / side for least, side in zip(height_width(crop), sides, strict=True))
    height, width = (round(factor * side) for side in sides)
    return height if isinstance(load, int) else (height, width)


def _file_size(dataset: ImageDataset, domain: str, index: int) -> Size:
    """Return the size of an image in its file; of side-by-side files, of a half."""
    config, max_pixels = dataset.domains[domain].config, dataset.config.max_megapixels * 10**6
    header = read_header(dataset.sources(domain)[index], config.pages, max_pixels)
    return header.height, header.width // 2 if dataset.index.side_by_side else header.width
