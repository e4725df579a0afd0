"""The translators of a run, and the images to try them on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from ..checkpoint import read_header
from ..config.compatibility import trained_on_pairs
from ..data import DataConfig, SplitIndex, index_split
from ..data.config import uncropped
from ..data.dataset import ImageDataset
from ..data.index import FileTree, Manifest, list_images
from ..errors import UserError
from ..fields import fill
from ..images.sources import unread
from ..inference import Translator
from .options import Options

WAYS = ("ab", "ba")


class Model(NamedTuple):
    """The translators by way, the files they come from, and what these say of themselves."""

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
        """Whether the method trained on pairs. Raises UserError if the files do not tell."""
        file, header = next(zip(self.files.values(), self.headers.values(), strict=True))
        paired = trained_on_pairs(header)
        if paired is None:
            raise UserError(
                f"{file} does not record whether its method trains on pairs; add --pairs yes or "
                "--pairs no",
                option="--pairs",
                path=file,
            )
        return paired


def model_files(path: Path) -> list[Path]:
    """The translators of a folder, or the file that is named. Raises UserError if there is none."""
    if not path.is_dir():
        return [path]
    files = [path / f"{way}.safetensors" for way in WAYS]
    if not any(file.is_file() for file in files):
        raise UserError(f"the folder {path} holds no ab.safetensors or ba.safetensors", path=path)
    return [file for file in files if file.is_file()]


def open_model(options: Options) -> Model:
    """Load every translator of a folder, or the one that is named. Raises UserError for others."""
    found = Model({}, {}, {})
    for file in model_files(options.model):
        header = read_header(file)
        translator = Translator.load(
            file, options.device, options.policy, options.seed, options.max_megapixels
        )
        way = str(header.get("direction"))
        if way not in WAYS:
            raise UserError(f"{file} translates {way!r}, which is neither ab nor ba")
        found.translators[way], found.files[way] = translator, file
        found.headers[way] = header
    return found


class EvaluationImages(NamedTuple):
    """The images of a split, as a finished translator is shown them."""

    pictures: ImageDataset
    split: str
    notes: tuple[str, ...]
    """What to know of the choice of the split, and of files that are not read."""
    config: DataConfig


def open_images(options: Options, model: Model, paired: bool) -> EvaluationImages:
    """The data set's images of a split. Raises UserError where there are none, or not in pairs."""
    trained = model.trained.get("data", {})
    try:
        config = fill(DataConfig, trained, "data")
    except UserError as error:  # not the defaults instead: they would decide the numbers
        file = next(iter(model.files.values()))
        raise UserError(
            f"the settings in {file} can't be read, and they say how images are shown to it: "
            f"{error}; evaluate with the version that wrote it"
        ) from None
    path = options.data or config.path
    if not path:
        raise UserError("name the data set: viceversa evaluate MODEL DATA")
    changes: dict[str, Any] = {"path": path, "max_megapixels": options.max_megapixels}
    if options.layout is not None:
        changes["layout"] = options.layout
    elif path != config.path:
        changes["layout"] = "auto" if config.layout != "patterns" else "patterns"
        changes["max_images"] = 0
    if options.size == "own":
        changes |= {"preprocess": "none", "rotate90": False}
    elif options.size != "trained":
        changes |= {"preprocess": "resize", "crop_size": int(options.size), "rotate90": False}
    if options.hold_out is not None:
        changes["hold_out"] = options.hold_out
    config = uncropped(dataclasses.replace(config, **changes))
    data = list_images(config.path)
    own = dataclasses.replace(config, hold_out=0.0)
    if options.hold_out is None and any(index_split(data, s, paired, own) for s in ("val", "test")):
        config = own  # data with splits of their own need no part of train
    split, found, note = _split(data, options.split, config, paired)
    learnt = str(trained.get("path", ""))
    if split == "train" and learnt and Path(path).absolute() == Path(learnt).absolute():
        note = "these are the images that the model learnt from: they say nothing of others"
    if paired and found.unmatched:
        raise UserError(
            f"{len(found.unmatched)} images of {path} belong to nothing, the first is "
            f"{next(iter(found.unmatched))}; give them partners, or say --pairs no"
        )
    way, translator = next(iter(model.translators.items()))
    ends = translator.source, translator.target
    domains = ends if way == "ab" else ends[::-1]
    pictures = ImageDataset(found, config, domains, paired, 0, training=False)
    others = unread(data.other) if isinstance(data, FileTree) else []
    notes = (*([note] if note else []), *(f"not read: {group}" for group in others))
    return EvaluationImages(pictures, split, notes, config)


def _split(
    data: FileTree | Manifest, wanted: str, config: DataConfig, paired: bool
) -> tuple[str, SplitIndex, str]:
    if wanted != "auto":
        found = index_split(data, wanted, paired, config)
        if found is None:
            raise UserError(f"{config.path} has no split {wanted}; say --split auto")
        return wanted, found, _held_out(found, wanted, config)
    for split in ("test", "val"):
        found = index_split(data, split, paired, config)
        if found is not None:
            return split, found, _held_out(found, split, config)
    found = index_split(data, "train", paired, config)
    assert found is not None  # of `train` it raises
    return "train", found, "there is no test or val split: these are the images that there are"


def _held_out(found: SplitIndex, split: str, config: DataConfig) -> str:
    """Return a note on validation images that were taken from `train`."""
    if split != "val" or not config.hold_out:
        return ""
    return f"val is {found.layout}; --hold_out 0 evaluates all images"
