"""Models of the service, with their translators."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UserError
from ..inference import Translator
from ..inference.patch_scores import PatchScorer, discriminator_of, load_scorer
from ..networks.patch_grid import patch_grid
from ..page.examples import Example, example_inputs, read_examples
from ..page.models import NamedModel, describe, named_models
from .settings import ServeSettings

LOGGER = logging.getLogger("viceversa.serve")
WARM_UP = 64  # pixels
LARGE = 512  # height and width of an image that has several patches


@dataclass(frozen=True)
class ServedModel:
    """A model of the service."""

    name: str
    number: int
    translator: Translator
    about: dict[str, Any]
    """Description for clients; it contains no path."""
    examples: dict[str, Example]
    """Example inputs by name."""
    scorer: PatchScorer | None
    """Discriminator of the run of the model; None if it gives no patch map."""


def load_models(arguments: Sequence[str], settings: ServeSettings) -> dict[str, ServedModel]:
    """Load the models of the command line, by name. Raises UserError.

    Args:
        arguments: Model files and run folders, each optionally as NAME=PATH.
        settings: Options of the service.
    """
    models: dict[str, ServedModel] = {}
    named = named_models(arguments)
    inputs = example_inputs(settings.examples, named)
    for number, model in enumerate(named):
        translator = Translator.load(
            model.path,
            settings.device,
            settings.policy,
            max_megapixels=settings.max_megapixels,
            precision=settings.precision,
        )
        found = read_examples(inputs[model.name], translator)
        examples = {str(name): example for name, example in enumerate(found, start=1)}
        scorer = find_scorer(model, translator, settings.device)
        about = describe(model, translator)
        about |= {"examples": list(examples), "patch_map": scorer is not None}
        models[model.name] = ServedModel(model.name, number, translator, about, examples, scorer)
    return models


def find_scorer(model: NamedModel, translator: Translator, device: str) -> PatchScorer | None:
    """Return the discriminator of the run of a model; None if it gives no patch map."""
    path = discriminator_of(model.path)
    if model.header["kind"] != "translator" or not path.is_file():
        return None
    try:
        scorer = load_scorer(model.path, translator, device)
    except UserError as error:
        LOGGER.warning("%s has no patch map: %s", model.name, error)
        return None
    grid = patch_grid(scorer.network, LARGE, LARGE)
    return None if grid is None or grid.rows * grid.columns == 1 else scorer


def warm_up(model: ServedModel) -> None:
    """Translate a small image. Raises UserError if the result is not finite."""
    source = model.translator.source
    shape = WARM_UP, WARM_UP, source.config.file_channels
    pixels = np.zeros(shape, source.dtype)
    if source.config.colours:
        pixels[:] = np.frombuffer(bytes.fromhex(source.config.colours[0][1:]), np.uint8)
    model.translator.pixels([pixels])
