"""Models of the service: names, translators, and descriptions for clients."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import read_header, translator_files
from ..errors import UserError
from ..fields import height_width, nested
from ..images.domain import Domain
from ..images.preprocessing import whole_size
from ..inference import Translator
from ..networks.sizes import multiple_of
from .settings import ServeSettings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
WARM_UP = 64  # pixels


@dataclass(frozen=True)
class ServedModel:
    """A model of the service."""

    name: str
    number: int
    translator: Translator
    about: dict[str, Any]
    """Description for clients; it contains no path."""


def load_models(arguments: Sequence[str], settings: ServeSettings) -> dict[str, ServedModel]:
    """Load the models of the command line, by name. Raises UserError.

    Args:
        arguments: Model files and run folders, each optionally as NAME=PATH.
        settings: Options of the service.
    """
    models: dict[str, ServedModel] = {}
    origins: dict[str, tuple[Path, str]] = {}
    for argument in arguments:
        given, equals, text = argument.partition("=")
        if not equals or Path(argument).exists():
            given, text = "", argument
        if given and not NAME.fullmatch(given):
            raise UserError(f"{given!r} is not a valid model name: use letters, digits, . _ and -")
        files = translator_files(Path(text))
        for path in files:
            header = read_header(path)
            direction = str(header.get("direction"))
            wanted = given or default_name(path)
            name = f"{given}-{direction}" if given and len(files) > 1 else wanted
            while name in models:
                if given:
                    raise UserError(f"two models have the name {name}; use different names")
                name = _next_name(name)
            translator = Translator.load(
                path, settings.device, settings.policy, max_megapixels=settings.max_megapixels
            )
            about = {"name": name, **describe(translator, header)}
            models[name] = ServedModel(name, len(models), translator, about)
            origins[name] = path.resolve().parent, direction
    for name, (folder, direction) in origins.items():
        back = (folder, direction[::-1])
        other = next((one for one, origin in origins.items() if origin == back), None)
        models[name].about["other"] = other
    return models


def default_name(path: Path) -> str:
    """Return the name of a model: the run with the direction, or the name of the file."""
    path = path.resolve()
    words = [path.parent.name, path.stem] if path.stem in ("ab", "ba") else [path.stem]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(words)).strip("-._")[:60]
    return name or "model"


def _next_name(name: str) -> str:
    """Return name-2, name-3, ..."""
    base, dash, number = name.rpartition("-")
    return f"{base}-{int(number) + 1}" if dash and number.isdigit() else f"{name}-2"


def describe(translator: Translator, header: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a model for clients."""
    method = str(nested(header, "trained", "method").get("name", "unknown method"))
    network, members = str(header["generator"]["name"]), header.get("members")
    direction = str(header["direction"])
    ensemble = f"ensemble of {len(members)}, " if isinstance(members, list) else ""
    about: dict[str, Any] = {
        "description": (
            f"{ensemble}{method}, {direction[:1].upper()} to {direction[1:].upper()}, {network}"
        ),
        "direction": direction,
        "source": domain_about(translator.source),
        "target": domain_about(translator.target),
        "multiple": multiple_of(translator.network),
        "trained_size": None,
    }
    known = translator.preprocessing
    if known.preprocess:
        size = whole_size(known.preprocess, known.load_size, known.crop_size)
        about["trained_size"] = list(height_width(size))
    return about


def domain_about(domain: Domain) -> dict[str, Any]:
    """Return the description of the images of a domain."""
    config = domain.config
    return {
        "kind": config.kind,
        "channels": config.file_channels,
        "dtype": domain.dtype,
        "classes": config.colours,
        "ids": config.ids,
        "unit": config.unit,
    }


def warm_up(model: ServedModel) -> None:
    """Translate a small image. Raises UserError if the result is not finite."""
    source = model.translator.source
    shape = WARM_UP, WARM_UP, source.config.file_channels
    pixels = np.zeros(shape, source.dtype)
    if source.config.colours:
        pixels[:] = np.frombuffer(bytes.fromhex(source.config.colours[0][1:]), np.uint8)
    model.translator.pixels([pixels])
