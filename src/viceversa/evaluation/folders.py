"""Evaluation of a folder of generated images against a folder of real ones, without a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from ..config.evaluation import OF_MODELS, EvaluationOptions
from ..data.dataset import ImageDataset
from ..data.index.files import read_tree
from ..errors import UserError
from ..images import Pixels
from ..images.domain import DomainConfig
from ..images.sources import is_image_name, printable
from ..images.values import fill_nodata, has_data, make_grid, to_rgb
from ..runtime.device import prepare_device
from .direction import DirectionEvaluator, available_features, refuse_ineffective
from .folder_images import FolderImages, open_folders
from .inputs import batches
from .results import (
    CaseImages,
    DirectionMetrics,
    Evaluation,
    nodata_protocol,
    protocol,
    text_of_size,
)

MODELS = ("ab.safetensors", "ba.safetensors")
RUN_FILES = (*MODELS, "config.json", "log.jsonl")
ARCHIVES = (".zip", ".tar")


def are_folders(first: Path, second: str) -> bool:
    """Return whether the arguments of `evaluate` are two folders of images, not model and data.

    Raises:
        UserError: They can be understood in both ways, or the second folder is missing.
    """
    if not first.is_dir():
        return first.is_file() and first.suffix.lower() in ARCHIVES
    names = {path.name for path in first.iterdir()}
    if names & set(RUN_FILES):
        known = {PurePosixPath(name).stem for name in names if is_image_name(name)}
        others = Path(second).iterdir() if second and Path(second).is_dir() else []
        if common := [one.name for one in others if is_image_name(one.name) and one.stem in known]:
            raise UserError(
                f"{first} has a model and images with names of {second}, such as {common[0]}; name "
                "the model file to evaluate the model, or move the images to evaluate them",
                path=first,
            )
        return False
    tree = read_tree(first)
    if not tree.files:
        return False
    if runs := [name for name in tree.other if PurePosixPath(name).name in RUN_FILES]:
        raise UserError(
            f"{first} contains runs or models ({printable(runs[0])}); name one of them, or a "
            "folder with nothing but images",
            path=first,
        )
    if not second:
        raise UserError(
            f"{first} is a folder of images; name the folder of real images too: viceversa "
            "evaluate FAKES REALS",
            path=first,
        )
    other = Path(second)
    if other.suffix == ".safetensors" or any((other / name).is_file() for name in RUN_FILES):
        raise UserError(
            f"{second} is a model, and {first} is not; name the model first: viceversa evaluate "
            f"{second} {first}",
            path=other,
        )
    return True


def evaluate_folders(
    fakes: Path,
    reals: Path,
    options: EvaluationOptions,
    progress: Callable[[int, int], None],
) -> Evaluation:
    """Compare two folders of images: pairs by name if there are any, and both sets.

    Args:
        fakes: Folder or archive of generated images.
        reals: Folder or archive of real images.
        options: The options; `data.b` describes the images.
        progress: Called with (images done, images in total).

    Raises:
        UserError: An image or an option is invalid, or a pair has two sizes.
    """
    options.refuse(OF_MODELS, "the evaluation of a model, not of two folders")
    if options.data.b.kind not in ("image", "labels"):
        raise UserError(
            f"--data.b.kind {options.data.b.kind} needs the lightness of the sources; evaluate "
            "the colour images, with kind image",
            option="--data.b.kind",
        )
    images = open_folders(fakes, reals, options)
    pairs, rest, domain = images.pairs, images.rest, images.domain
    paired, direction = bool(pairs.sources("a")), options.direction
    features, notes = available_features(options, paired, prepare_device(options.device))
    compares = {"sets", "pair"} if paired else {"sets"}
    evaluator = DirectionEvaluator(direction, (domain, domain), compares, options, features)
    refuse_ineffective(options, paired, [evaluator])
    translations, real = (
        sum(len(one.sources(side)) for one in (pairs, rest)) for side in ("a", "b")
    )
    done, skipped = 0, list[str]()
    for dataset, are_pairs in ((pairs, True), (rest, False)):
        for batch in batches(dataset, "ab", are_pairs, options.batch_size, skipped, torch.float64):
            output = fill_nodata(batch.source, domain)
            if are_pairs or not paired:  # with pairs, only they have rows
                evaluator.add(batch, output)
            else:
                evaluator.accumulator.add(batch.source, output)
            done += len(batch.files)
            progress(done, translations)
    for index in range(len(rest.sources("b"))):
        image = rest.values("b", index, torch.device("cpu"))
        if bool(has_data(image, image)):
            evaluator.accumulator.add_real(image)
    count = len(evaluator.files)
    kind = f"{count} pairs by name, " if paired else ""
    description = f"{kind}{translations} generated and {real} real images"
    metrics, more = evaluator.result(description, translations, real)
    if skipped:
        more.append(f"left out {len(skipped)} images without data, the first is {skipped[0]}")
    dtypes = dict.fromkeys((*pairs.store.other_dtypes, *rest.store.other_dtypes))
    more += [
        f"{'FAKES' if side == 'a' else 'REALS'}: {dtype} images, but those of REALS are "
        f"{domain.dtype}: {domain.scaling(dtype)}"
        for side, dtype in dtypes
    ]

    def cases(metrics: DirectionMetrics) -> CaseImages:
        names = [one.source for one in metrics.files]
        return CaseImages(["generated", "real"], lambda index: _row(pairs, names[index]))

    return Evaluation(
        f"Evaluation of {fakes} against {reals}",
        f"{printable(fakes)} against {printable(reals)}",
        _protocol(fakes, reals, images, options, features.digests),
        cases,
        [metrics],
        [*images.notes, *notes, *more],
        heading=f"{_name(fakes)} (generated) against {_name(reals)} (real)",
    )


def _name(folder: Path) -> str:
    return printable(folder.absolute().name)


def _row(dataset: ImageDataset, name: str) -> Pixels:
    """Draw a pair."""
    index = [str(one) for one in dataset.sources("a")].index(name)
    values = (dataset.values(side, index, torch.device("cpu")) for side in "ab")
    domain = dataset.domains["b"]
    return make_grid([[to_rgb(fill_nodata(one, domain), domain)[0] for one in values]])


def _protocol(
    fakes: Path,
    reals: Path,
    images: FolderImages,
    options: EvaluationOptions,
    digests: dict[str, str],
) -> dict[str, Any]:
    every = {side: [*images.pairs.sources(side), *images.rest.sources(side)] for side in ("a", "b")}
    of_images = {
        "fakes": str(fakes),
        "reals": str(reals),
        "pairs": bool(images.pairs.sources("a")),
        "size": text_of_size(images.pairs.config),
        "half": options.half or "whole",
        "resize_filter": images.domain.config.resize,
        "file_types": {
            side: dict(Counter(PurePosixPath(one.name).suffix.lower() for one in sources))
            for side, sources in zip(("fakes", "reals"), every.values(), strict=True)
        },
        "dtype": images.domain.dtype,
        "channels": images.domain.config.channels,
        "range": _text_of_range(options.data.b),
        "nodata": nodata_protocol(images.domain),
    }
    return protocol(of_images, "all images of REALS", digests)


def _text_of_range(config: DomainConfig) -> str:
    if config.given() is not None:
        return "given"
    return f"{config.range} of REALS"
