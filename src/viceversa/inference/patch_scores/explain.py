"""Patch scores of a translation, or of an image file, with the images to display beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ...checkpoint import read_header, translator_file
from ...errors import UserError
from ...images.domain import Domain
from ...images.masks import MaskFiles
from ...images.preprocessing import Part
from ...images.sources import Source
from ...images.values import fill_nodata, to_rgb
from ..translator import Translator
from .figure import Row
from .scorer import PatchScorer, read_image
from .scores import on_common_scale
from .translated import discriminator_of, for_display, load_scorer, translate_values


@dataclass(frozen=True)
class ExplainOptions:
    """A model, an image, and the files that belong to them."""

    model: Path
    """A run folder, a translator, or a discriminator."""
    image: Path
    """Input of the translator, or the image that the discriminator scores."""
    real: Path | None = None
    """The real target, to score beside it."""
    source: Path | None = None
    """Source of `image`, for a discriminator of pairs."""
    half: Part = None
    """Half that `image` is of a file with A and B side by side; its partner is the other half."""
    beside: Path | None = None
    """Another discriminator, to compare with."""
    device: str = "auto"
    max_megapixels: int = 64
    size: str = "own"
    """Size of the images: own, trained (as in training, not cropped), or pixels a side."""
    masks: MaskFiles | None = None
    """Mask files of `image`, and of the real target and the source if they have any, by name."""

    @property
    def partner(self) -> tuple[Path, Part] | None:
        """The other half of the image's file."""
        if self.half in (None, "whole"):
            return None
        return self.image, "right" if self.half == "left" else "left"

    def mask_of(self, path: Path) -> Source | None:
        """Return the mask file of an image. Raises UserError if `image` has none."""
        if self.masks is None:
            return None
        find = self.masks.of if path == self.image else self.masks.find
        return find(Source(path))

    @property
    def part_of_others(self) -> Part:
        """The part to read of every other file: all of it, if the image is whole."""
        return "whole" if self.half == "whole" else None


class Explanation(NamedTuple):
    """Rows for each image and discriminator, and the source, (3, h, w) for display."""

    discriminator: Path
    rows: list[Row]
    source: Tensor | None
    notes: list[str]


class _Case(NamedTuple):
    """Images to score, (channels, h, w) in [-1, 1] by name, with their source."""

    path: Path
    scorer: PatchScorer
    images: dict[str, Tensor]
    source: Tensor | None
    source_domain: Domain | None
    notes: list[str]


def explain(options: ExplainOptions) -> Explanation:
    """Translate the image if the model is a translator, and score its patches.

    Raises:
        UserError: Files or options do not fit together.
    """
    file = translator_file(options.model)
    kind = read_header(file).get("kind")
    if kind not in ("translator", "discriminator"):
        raise UserError(f"{file} is neither a translator nor a discriminator: {kind}", path=file)
    case = (_translation if kind == "translator" else _image_file)(options, file)
    rows = []
    for name, scorer in [("", case.scorer), *_others(options, case)]:
        scores = on_common_scale(*(scorer(image, case.source) for image in case.images.values()))
        for (title, image), of_image in zip(case.images.items(), scores, strict=True):
            shown = for_display(image, case.scorer.domain, case.source)
            rows.append(Row(title, shown, of_image, name))
    rows.sort(key=lambda row: list(case.images).index(row.name))
    source = None
    if case.source is not None and case.source_domain is not None:
        source = to_rgb(case.source[None], case.source_domain)[0]
    return Explanation(case.path, rows, source, case.notes)


def _translation(options: ExplainOptions, file: Path) -> _Case:
    """Translate the image, and load the discriminator beside the translator."""
    if options.source:
        raise UserError(
            "the image is the source of its translation; --source is for a discriminator's file",
            option="--source",
        )
    if options.real and options.partner:
        raise UserError(
            "with --half the real target is the other half; leave out --real", option="--real"
        )
    translator = Translator.load(
        file, options.device, max_megapixels=options.max_megapixels, size=options.size
    )
    scorer = load_scorer(file, translator, options.device)
    values, notes = read_image(
        options.image,
        translator.source,
        options.half,
        options.max_megapixels,
        translator.preprocessing,
        options.size,
        options.mask_of(options.image),
    )
    source, output = translate_values(translator, values)
    images = {"generated": output}
    if real := (options.real, options.part_of_others) if options.real else options.partner:
        images["real"], _ = _read(options, scorer, scorer.domain, *real)
    path = discriminator_of(file)
    return _Case(path, scorer, images, source, translator.source, notes)


def _image_file(options: ExplainOptions, path: Path) -> _Case:
    """Load the discriminator, and read the image and its source."""
    scorer = PatchScorer.load(path, options.device)
    scorer.preprocessing.check(options.size, path, options.max_megapixels * 10**6)
    given = (options.source, options.part_of_others) if options.source else options.partner
    source = None
    if scorer.source is None:
        if options.source:
            raise UserError(
                f"{path} takes single images; leave out --source", option="--source", path=path
            )
    elif given is None:
        raise UserError(
            f"{path} takes pairs; name the source of the image with --source, or with --half the "
            "half that it is of a file with A and B side by side",
            option="--source",
            path=path,
        )
    else:
        source, _ = _read(options, scorer, scorer.source, *given)
    image, notes = _read(options, scorer, scorer.domain, options.image, options.half)
    images = {"image": image}
    if options.real:
        part = options.part_of_others
        images["real"], _ = _read(options, scorer, scorer.domain, options.real, part)
    return _Case(path, scorer, images, source, scorer.source, notes)


def _read(
    options: ExplainOptions, scorer: PatchScorer, domain: Domain, path: Path, part: Part
) -> tuple[Tensor, list[str]]:
    most = options.max_megapixels
    mask, size = options.mask_of(path), options.size
    values, notes = read_image(path, domain, part, most, scorer.preprocessing, size, mask)
    return fill_nodata(values, domain), notes


def _others(options: ExplainOptions, case: _Case) -> Iterator[tuple[str, PatchScorer]]:
    """The discriminator to compare with, named by its folder and file."""
    path = options.beside
    if path is None:
        return
    other = PatchScorer.load(path, options.device)
    reason = ""
    if other.domain != case.scorer.domain:
        reason = f"{path} takes other images than {case.path}"
    elif other.source and case.source is None:
        reason = (
            f"{path} takes pairs, and {case.path} single images; exchange them, and add --source"
        )
    elif other.source not in (None, case.source_domain):
        reason = f"{path} takes pairs with other sources than {case.path}"
    if reason:
        raise UserError(reason, option="--beside", path=path)
    yield f"{path.absolute().parent.name}/{path.stem}", other
