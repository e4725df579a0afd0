"""Whether the networks of a run can train on its images, and which settings would make them fit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from ..errors import UserError
from ..images import read_header
from ..methods.base import Method
from ..networks.sizes import multiple_of, nearest_size, size_problem
from .config import DataConfig, resized_size
from .dataset import ImageDataset

Size = tuple[int, int]  # height, width
LARGEST_SIDE = 1024  # up to which a setting is looked for that fits
MOST_TRIES = 32


def check_sizes(method: Method, pictures: ImageDataset, batch_size: int) -> None:
    """Raises UserError if the networks cannot train on the first image, with settings that fit."""
    source, target = pictures.first()
    # The last batch of an epoch may hold a single image.
    batch = 1 if len(pictures) % batch_size == 1 else batch_size
    problem = _problem(method, (source, target), _sizes(source, target), batch)
    if problem is not None:
        images = source, target
        advice = _settings_that_fit(method, pictures, images, batch) or _advice(
            method, images, batch, f"data.preprocess {pictures.config.preprocess} decides the size"
        )
        raise UserError(f"{problem}; {advice}", option="data.preprocess")


def check_images(method: Method, images: tuple[Tensor, Tensor], batch: int) -> None:
    """Raises UserError if the networks cannot train on a (source, target) of this size."""
    problem = _problem(method, images, _sizes(*images), batch)
    if problem is not None:
        raise UserError(f"{problem}; {_advice(method, images, batch)}")


def _sizes(source: Tensor, target: Tensor) -> tuple[Size, Size]:
    return (source.shape[1], source.shape[2]), (target.shape[1], target.shape[2])


def _problem(
    method: Method, images: tuple[Tensor, Tensor], sizes: tuple[Size, Size], batch: int
) -> str | None:
    """Why a network cannot train on a source and a target of these sizes; None if all can."""
    channels = {"a": images[0].shape[0], "b": images[1].shape[0]}
    size = dict(zip("ab", sizes, strict=True))
    for way, network in method.translators().items():
        if problem := size_problem(network, channels[way[0]], *size[way[0]], batch):
            return problem
    for domain, (network, wants_pair) in method.discriminators().items():
        other = channels["b" if domain == "a" else "a"] if wants_pair else 0
        if problem := size_problem(network, channels[domain] + other, *size[domain], batch):
            return problem
    return None


def _advice(
    method: Method, images: tuple[Tensor, Tensor], batch: int,
    decides: str = "data.crop_size and data.preprocess decide the size",
) -> str:  # fmt: skip
    """The nearest size that fits, whatever makes it."""

    def fits(*size: int) -> bool:
        both = (size[0], size[1]), (size[0], size[1])
        return _problem(method, images, both, batch) is None

    size = nearest_size(images[0].shape[1], images[0].shape[2], _multiple(method), fits)
    words = "no size near it fits" if size is None else f"{size[1]}x{size[0]} would fit"
    return f"{words} ({decides}, generator.depth and the norms what fits)"


def _multiple(method: Method) -> int:
    return math.lcm(*(multiple_of(network) for network in method.translators().values()))


def _settings_that_fit(
    method: Method, pictures: ImageDataset, images: tuple[Tensor, Tensor], batch: int
) -> str:
    """The nearest setting of the one that decides the size, and what it gives; empty if none."""
    multiple, tries = _multiple(method), 0
    files = _file_size(pictures, 0), _file_size(pictures, 1)
    for changes in _changes(pictures.config):
        try:
            config = dataclasses.replace(pictures.config, **changes)
            sizes = _given(files[0], config), _given(files[1], config)
        except UserError:  # smaller than the crop, or the crop larger than the image
            continue
        if any(side % multiple for size in sizes for side in size):
            continue
        tries += 1
        if tries > MOST_TRIES:
            break
        if _problem(method, images, sizes, batch) is None:
            words = " ".join(f"--data.{name} {value}" for name, value in changes.items())
            return f"{words} gives {sizes[0][1]}x{sizes[0][0]}, which fits"
    return ""


def _changes(config: DataConfig) -> Iterator[dict[str, Any]]:
    """Other values of the setting that decides the size, from the nearest on."""
    if config.preprocess == "none":
        return
    scaled = config.preprocess in ("scale_width", "scale_shortside")
    name, now = ("load_size", config.load_size) if scaled else ("crop_size", config.crop_size)
    for value in sorted(range(1, max(2 * now, LARGEST_SIDE) + 1), key=lambda one: abs(one - now)):
        larger = config.preprocess == "resize_and_crop" and value > config.load_size
        yield {"load_size": value, name: value} if larger else {name: value}


def _given(size: Size, config: DataConfig) -> Size:
    """The size that an image has in training. Raises UserError if it can't have it."""
    height, width = resized_size(*size, config, "")
    if config.preprocess in ("resize_and_crop", "crop", "scale_width_and_crop"):
        return config.crop_size, config.crop_size
    return height, width


def _file_size(pictures: ImageDataset, end: int) -> Size:
    """The size of the first source (0) or target (1) in its file, of a half if it has two."""
    side, index = pictures.direction[end], pictures.indices(1, 0)[end]
    config = pictures.domains[side].config
    most = pictures.config.max_megapixels * 10**6
    header = read_header(pictures.sources(side)[index], config.pages, most)
    return header.height, header.width // 2 if pictures.index.side_by_side else header.width
