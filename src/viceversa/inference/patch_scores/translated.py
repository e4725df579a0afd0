"""Patch scores of translations by the discriminator of their run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ...checkpoint import read_header
from ...errors import UserError
from ...images.domain import Domain
from ...images.values import fill_nodata, fill_output, to_rgb
from ..translator import Translator
from .scorer import PatchScorer
from .scores import PatchScores


class Translation(NamedTuple):
    """An image and its translation, (channels, h, w) in [-1, 1]."""

    source: Tensor
    output: Tensor


class ScoredTranslation(NamedTuple):
    """A translation for display, (3, h, w) in [-1, 1], and its patch scores."""

    image: Tensor
    scores: PatchScores


def discriminator_of(file: Path) -> Path:
    """Return the path of the discriminator in the folder of a translator."""
    return file.with_name(f"d_{read_header(file)['direction'][1:]}.safetensors")


def load_scorer(file: Path, translator: Translator, device: str = "auto") -> PatchScorer:
    """Load the discriminator that is stored next to a translator.

    Args:
        file: The file of the translator.
        translator: The translator.
        device: `auto` or a torch device.

    Raises:
        UserError: There is no discriminator, or it needs other images than the translator's.
    """
    path = discriminator_of(file)
    if not path.is_file():
        raise UserError(
            f"there is no discriminator {path.name} next to {file}; a run folder has one", path=path
        )
    scorer = PatchScorer.load(path, device)
    if scorer.domain != translator.target or scorer.source not in (None, translator.source):
        raise UserError(
            f"{path} needs other images than those of {file}; use files of the same run", path=path
        )
    return scorer


def translate_values(translator: Translator, values: Tensor) -> Translation:
    """Translate an image (channels, h, w) in [-1, 1], NaN where it has no data."""
    source = fill_nodata(values, translator.source)
    output = fill_output(translator.tensor(source[None]), values[None], translator.target)
    return Translation(source, output[0])


def score_translation(
    translator: Translator, scorer: PatchScorer, values: Tensor
) -> ScoredTranslation:
    """Translate an image, and score the patches of the result, or of the pair.

    Args:
        translator: The translator.
        scorer: The discriminator of its run.
        values: The image, see `translate_values`.

    Raises:
        UserError: The image is too small for a score.
    """
    source, output = translate_values(translator, values)
    return ScoredTranslation(for_display(output, translator.target, source), scorer(output, source))


def for_display(image: Tensor, domain: Domain, source: Tensor | None) -> Tensor:
    """Return (3, h, w) in [-1, 1]; Lab colours are combined with the lightness of their source."""
    lightness = None
    if source is not None and source.shape[0] == 1 and source.shape[1:] == image.shape[1:]:
        lightness = source[None]
    return to_rgb(image[None], domain, lightness)[0]
