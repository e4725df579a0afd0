"""Models of the service, with their translators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..inference import Translator
from ..page.examples import Example, example_inputs, read_examples
from ..page.models import describe, named_models
from .settings import ServeSettings

WARM_UP = 64  # pixels


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
            model.path, settings.device, settings.policy, max_megapixels=settings.max_megapixels
        )
        found = read_examples(inputs[model.name], translator)
        examples = {str(name): example for name, example in enumerate(found, start=1)}
        about = describe(model, translator) | {"examples": list(examples)}
        models[model.name] = ServedModel(model.name, number, translator, about, examples)
    return models


def warm_up(model: ServedModel) -> None:
    """Translate a small image. Raises UserError if the result is not finite."""
    source = model.translator.source
    shape = WARM_UP, WARM_UP, source.config.file_channels
    pixels = np.zeros(shape, source.dtype)
    if source.config.colours:
        pixels[:] = np.frombuffer(bytes.fromhex(source.config.colours[0][1:]), np.uint8)
    model.translator.pixels([pixels])
