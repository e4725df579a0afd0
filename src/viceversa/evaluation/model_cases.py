"""Cases of a model: source, translation, target, and patch maps of the discriminator."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..data.dataset import ImageDataset
from ..errors import UserError
from ..images import Pixels
from ..images.domain import Domain
from ..images.values import (
    fill_nodata,
    fill_output,
    make_grid,
    quantized,
    to_pixels,
    to_rgb,
    to_tensor,
    to_values,
)
from ..inference import Translator
from ..inference.patch_scores import PatchScorer, draw_patch_map
from .results import CaseImages, DirectionMetrics


def case_images(
    translator: Translator,
    file: Path,
    device: str,
    dataset: ImageDataset,
    paired: bool,
    metrics: DirectionMetrics,
) -> CaseImages:
    """Return how the cases of a direction are drawn.

    Args:
        translator: The translator of the direction.
        file: Its file; the discriminator may be beside it.
        device: Device of the discriminator.
        dataset: The images.
        paired: Whether they are pairs.
        metrics: Metrics of the direction.
    """
    scorer = _scorer(translator, file, metrics.direction, device)
    columns = ["source", "translation", *(["target"] if paired else [])]
    if scorer is not None:
        columns += [f"patch map of the {one}" for one in columns[1:]]
    draw = partial(_row, translator, scorer, dataset, paired, metrics)
    return CaseImages(columns, draw, scorer is not None)


def _scorer(translator: Translator, file: Path, direction: str, device: str) -> PatchScorer | None:
    """Load the discriminator beside the model, if there is one for the same domains."""
    path = file.with_name(f"d_{direction[1]}.safetensors")
    try:
        scorer = PatchScorer.load(path, device) if path.is_file() else None
    except UserError:  # it is untrained, or of an earlier version
        return None
    if scorer is None or scorer.domain != translator.target:
        return None
    return scorer if scorer.source in (None, translator.source) else None


def _row(
    translator: Translator,
    scorer: PatchScorer | None,
    dataset: ImageDataset,
    paired: bool,
    metrics: DirectionMetrics,
    index: int,
) -> Pixels:
    """Draw source, translation, target and patch maps beside each other."""
    a, b = metrics.direction[0], metrics.direction[1]
    here, there, cpu = translator.source, translator.target, torch.device("cpu")
    position = [str(one) for one in dataset.sources(a)].index(metrics.files[index].source)
    values = dataset.values(a, position, cpu)
    source = fill_nodata(values, here)
    images = [quantized(fill_output(translator.tensor(source), values, there), there)]
    if paired:
        images.append(fill_nodata(dataset.values(b, position, cpu), there))
    row = [to_rgb(source, here)[0], *(to_rgb(image, there, source)[0] for image in images)]
    if scorer is not None:
        row += [_patch_map(scorer, image, source, there) for image in images]
    return make_grid([row])


def _patch_map(scorer: PatchScorer, image: Tensor, source: Tensor, domain: Domain) -> Tensor:
    """Draw a patch map, (3, h, w) in [-1, 1]; grey if the image is too small for one."""
    pixels = to_pixels(to_rgb(image, domain, source), Domain())[0]
    try:
        scores = scorer(image[0], source[0] if scorer.source else None)
    except UserError:
        return torch.zeros(3, *image.shape[2:])
    return to_values(to_tensor(draw_patch_map(pixels, scores))[None], Domain())[0]
