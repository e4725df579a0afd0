"""Names and descriptions of the models of a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint import read_header, translator_files
from ..errors import UserError
from ..fields import height_width, nested
from ..images.domain import Domain
from ..images.preprocessing import whole_size
from ..inference import Translator
from ..networks.sizes import multiple_of

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class NamedModel:
    """A model file with its name."""

    name: str
    path: Path
    header: dict[str, Any]
    other: str | None
    """Name of the model of the opposite direction."""


def named_models(arguments: Sequence[str]) -> list[NamedModel]:
    """Return the models of a command line with their names. Raises UserError.

    Args:
        arguments: Model files and run folders, each optionally as NAME=PATH.
    """
    paths: dict[str, Path] = {}
    headers: dict[str, dict[str, Any]] = {}
    for argument in arguments:
        given, equals, text = argument.partition("=")
        if not equals or Path(argument).exists():
            given, text = "", argument
        if given and not NAME.fullmatch(given):
            raise UserError(f"{given!r} is not a valid model name: use letters, digits, . _ and -")
        files = translator_files(Path(text))
        for path in files:
            header = read_header(path)
            name = given or default_name(path)
            if given and len(files) > 1:
                name = f"{given}-{header.get('direction')}"
            while name in paths:
                if given:
                    raise UserError(f"two models have the name {name}; use different names")
                name = _next_name(name)
            paths[name], headers[name] = path, header
    origins = {
        name: (path.resolve().parent, str(headers[name].get("direction")))
        for name, path in paths.items()
    }
    found = []
    for name, (folder, direction) in origins.items():
        back = (folder, direction[::-1])
        other = next((one for one, origin in origins.items() if origin == back), None)
        found.append(NamedModel(name, paths[name], headers[name], other))
    return found


def default_name(path: Path) -> str:
    """Return the default name of a model: run and direction, or the name of the file."""
    path = path.resolve()
    words = [path.parent.name, path.stem] if path.stem in ("ab", "ba") else [path.stem]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(words)).strip("-._")[:60]
    return name or "model"


def _next_name(name: str) -> str:
    """Return name-2, name-3, ..."""
    base, dash, number = name.rpartition("-")
    return f"{base}-{int(number) + 1}" if dash and number.isdigit() else f"{name}-2"


def describe(model: NamedModel, translator: Translator) -> dict[str, Any]:
    """Return the description of a model for clients; it contains no path."""
    header = model.header
    method = str(nested(header, "trained", "method").get("name", "unknown method"))
    network, members = str(header["generator"]["name"]), header.get("members")
    direction = str(header["direction"])
    ensemble = f"ensemble of {len(members)}, " if isinstance(members, list) else ""
    about: dict[str, Any] = {
        "name": model.name,
        "description": (
            f"{ensemble}{method}, {direction[:1].upper()} to {direction[1:].upper()}, {network}"
        ),
        "direction": direction,
        "source": domain_about(translator.source),
        "target": domain_about(translator.target),
        "multiple": multiple_of(translator.network),
        "trained_size": None,
        "other": model.other,
        "examples": [],
        "patch_map": False,
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
        "class_names": config.names,
        "ids": config.ids,
        "unit": config.unit,
    }
