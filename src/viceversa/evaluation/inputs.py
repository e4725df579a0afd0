"""Inputs of an evaluation: the translators of a model, and the images of a split."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..checkpoint import read_header, translator_files
from ..config.compatibility import trained_on_pairs
from ..config.evaluation import EvaluationOptions
from ..data import DataConfig, SplitIndex, index_split
from ..data.config import uncropped
from ..data.dataset import ImageDataset
from ..data.index import FileTree, Manifest, list_images
from ..data.index.manifest import is_manifest
from ..errors import UserError
from ..fields import counted, fill
from ..images.domain import DomainConfig
from ..images.preprocessing import parse_size
from ..images.sources import Source, printable, unread
from ..images.values import has_data
from ..inference import Translator
from .results import ImageFiles


class Model(NamedTuple):
    """Translators by direction, their files and the headers of these."""

    translators: dict[str, Translator]
    files: dict[str, Path]
    headers: dict[str, dict[str, Any]]

    @property
    def trained(self) -> dict[str, Any]:
        """The settings of the run."""
        trained: dict[str, Any] = next(iter(self.headers.values())).get("trained", {})
        return trained

    @property
    def paired(self) -> bool:
        """Whether the method trained on pairs. Raises UserError if the file does not record it."""
        direction, file = next(iter(self.files.items()))
        paired = trained_on_pairs(self.headers[direction])
        if paired is None:
            raise UserError(
                f"{file} does not record whether its method trains on pairs; add --pairs yes or "
                "--pairs no",
                option="--pairs",
                path=file,
            )
        return paired


def open_model(path: Path, options: EvaluationOptions) -> Model:
    """Load the translators of a run folder or a file. Raises UserError."""
    model = Model({}, {}, {})
    for file in translator_files(path):
        header = read_header(file)
        translator = Translator.load(
            file,
            options.device,
            options.policy,
            options.seed,
            options.max_megapixels,
            flips=options.flips,
        )
        direction = str(header["direction"])
        model.translators[direction], model.files[direction] = translator, file
        model.headers[direction] = header
    return model


class EvaluationImages(NamedTuple):
    """The images of a split, preprocessed as options say."""

    dataset: ImageDataset
    split: str
    notes: tuple[str, ...]
    """Notes on the choice of the split, and on files that are not read."""
    config: DataConfig
    training_images: bool
    """Whether the model was trained on some of these images."""


def open_images(
    path: str, model: Model, options: EvaluationOptions, paired: bool
) -> EvaluationImages:
    """Index the images of a split. Raises UserError if there are none, or pairs are incomplete."""
    config = _data_config(path, options, model)
    data = list_images(config.path)
    without = dataclasses.replace(config, hold_out=0.0)
    if options.hold_out is None and any(
        index_split(data, split, paired, without) for split in ("val", "test")
    ):
        config = without  # data with a val or test split need no part of train
    split, index, note = _split(data, options.split, config, paired)
    training_images = _trained_on(split, index, config, model)
    if training_images:
        note = (
            "the model was trained on these images, so the metrics do not apply to other images; "
            "evaluate a test split, or train with data.hold_out 0.1"
        )
    if paired and index.unmatched:
        left = counted(len(index.unmatched), "image")
        raise UserError(
            f"{config.path} has {left} without a partner, such as {next(iter(index.unmatched))}; "
            "add the partners, or set --pairs no",
            option="--pairs",
        )
    direction, translator = next(iter(model.translators.items()))
    domains = translator.source, translator.target
    dataset = ImageDataset(
        index, config, domains if direction == "ab" else domains[::-1], paired, 0, training=False
    )
    others = unread(data.other) if isinstance(data, FileTree) else []
    notes = (*([note] if note else []), *(f"not read: {group}" for group in others))
    return EvaluationImages(dataset, split, notes, config, training_images)


def _data_config(path: str, options: EvaluationOptions, model: Model) -> DataConfig:
    """The data settings of training, changed by the options. Raises UserError."""
    try:
        config = fill(DataConfig, model.trained.get("data", {}), "data")
    except UserError as error:  # defaults instead would change the metrics
        file = next(iter(model.files.values()))
        raise UserError(
            f"the settings in {file} can't be read, and they define the preprocessing of its "
            f"images: {error}; evaluate with the version that wrote it",
            path=file,
        ) from None
    path = path or config.path
    if not path:
        raise UserError("name the dataset: viceversa evaluate MODEL DATA")
    other = _are_other(path, config)
    changes: dict[str, Any] = {"path": path, "max_megapixels": options.max_megapixels}
    if options.data.layout is not None:
        changes["layout"] = options.data.layout
    elif path != config.path:
        changes["layout"] = "auto" if config.layout != "patterns" else "patterns"
    for side in "ab":  # masks of other data are those in a folder of the same name in them
        domain: DomainConfig = getattr(config, side)
        inside = not Path(domain.masks).is_absolute() and (Path(path) / domain.masks).is_dir()
        if given := getattr(options.data, side).masks:
            changes[side] = dataclasses.replace(domain, masks=given)
        elif domain.masks and other and not inside:
            changes[side] = dataclasses.replace(domain, masks="")
    if other:  # these select a part of the training data
        changes |= {"max_images": 0, "hold_out": 0.0}
    if options.size == "own":
        changes |= {"preprocess": "none", "rotate90": False}
    elif options.size != "trained":
        size = parse_size(options.size)
        changes |= {"preprocess": "resize", "crop_size": size, "rotate90": False}
    if options.hold_out is not None:
        changes["hold_out"] = options.hold_out
    return uncropped(dataclasses.replace(config, **changes))


def _same_path(one: str, other: str) -> bool:
    return bool(one and other) and Path(one).resolve() == Path(other).resolve()


def _are_other(path: str, of_run: DataConfig) -> bool:
    """Return whether data are not those of the run, which may have been moved."""
    return not _same_path(path, of_run.path) and Path(of_run.path).exists()


def _trained_on(split: str, index: SplitIndex, config: DataConfig, model: Model) -> bool:
    """Return whether a model was trained on some of the images of a split."""
    of_run = model.trained.get("data", {})
    paths = {str(of_run.get("path", ""))}
    for header in model.headers.values():  # an ensemble has the data of its members
        paths |= {str(member.get("data", "")) for member in header.get("members", ())}
    # A larger fraction than in training holds out images that were trained on.
    larger = split == "val" and config.hold_out > of_run.get("hold_out", 0.0)
    if (split == "train" or larger) and any(_same_path(config.path, path) for path in paths):
        return True
    # The test images of one fold of a study are training images of the others.
    others = (path for path in paths if is_manifest(Path(path)))
    files = {*index.a, *index.b}
    return any(not files.isdisjoint(_training_files(path)) for path in others)


def _training_files(manifest: str) -> set[Source]:
    try:
        index = index_split(manifest, "train", paired=False)
    except UserError:  # the data has changed since the training
        return set()
    return {*index.a, *index.b} if index else set()


def _split(
    data: FileTree | Manifest, wanted: str, config: DataConfig, paired: bool
) -> tuple[str, SplitIndex, str]:
    """Return the name of the split, its index, and a note on it."""
    for split in ("test", "val") if wanted == "auto" else (wanted,):
        index = index_split(data, split, paired, config)
        if index is not None:
            held_out = split == "val" and config.hold_out
            note = f"val is {index.layout}; --hold_out 0 evaluates all images" if held_out else ""
            return split, index, note
    if wanted != "auto":
        raise UserError(f"{config.path} has no split {wanted}; use --split auto", option="--split")
    index = index_split(data, "train", paired, config)
    assert index is not None  # a dataset without train is refused
    return "train", index, "there is no test or val split: all images are evaluated"


class EvaluationBatch(NamedTuple):
    """Consecutive images of one size on the CPU, in [-1, 1]; NaN means no data."""

    files: list[ImageFiles]
    source: Tensor
    target: Tensor | None
    """In float64, so that metrics are exact."""


def batches(
    dataset: ImageDataset,
    direction: str,
    paired: bool,
    batch_size: int,
    skipped: list[str],
    dtype: torch.dtype = torch.float32,
) -> Iterator[EvaluationBatch]:
    """Yield the images of a direction.

    Args:
        dataset: The images.
        direction: `ab` or `ba`.
        paired: Whether the images are pairs.
        batch_size: Maximum number of images of a batch.
        skipped: Takes the names of the images without data.
        dtype: Of the sources.

    Raises:
        UserError: An image cannot be read, or a pair has two sizes.
    """
    here, there = direction[0], direction[1]
    pending: list[tuple[ImageFiles, Tensor, Tensor | None]] = []
    cpu = torch.device("cpu")
    for index, source in enumerate(dataset.sources(here)):
        image = dataset.values(here, index, cpu, dtype)
        target = dataset.values(there, index, cpu, torch.float64) if paired else None
        partner = str(dataset.sources(there)[index]) if paired else ""
        if target is not None and target.shape[2:] != image.shape[2:]:
            sizes = [f"{one.shape[3]}x{one.shape[2]}" for one in (image, target)]
            raise UserError(
                f"{source} has {sizes[0]} pixels and its target {partner} has {sizes[1]}; "
                "--size 256 (or another number, or height,width) resizes both to one size",
                option="--size",
                path=source.path,
            )
        if not bool(has_data(image, image if target is None else target)):
            skipped.append(str(source))
            continue
        if pending and (len(pending) == batch_size or pending[0][1].shape != image.shape):
            yield _batch(pending)
            pending = []
        name, group = dataset.index.name_of(source), dataset.index.groups.get(source, "")
        files = ImageFiles(printable(name), printable(group), str(source), partner)
        pending.append((files, image, target))
    if pending:
        yield _batch(pending)


def _batch(pending: Sequence[tuple[ImageFiles, Tensor, Tensor | None]]) -> EvaluationBatch:
    files, sources, targets = zip(*pending, strict=True)
    known = [target for target in targets if target is not None]
    return EvaluationBatch(list(files), torch.cat(sources), torch.cat(known) if known else None)
