"""Model files: those of a run folder, and their domains and networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..checkpoint import load_network
from ..config.extensions import require
from ..errors import UserError
from ..fields import fill
from ..images.domain import Domain


def translator_files(path: Path) -> list[Path]:
    """Return the translators in a folder, or the file itself. Raises UserError if none exist."""
    if not path.is_dir():
        return [path]
    files = [path / f"{direction}.safetensors" for direction in ("ab", "ba")]
    files = [file for file in files if file.is_file()]
    if not files:
        raise UserError(
            f"the folder {path} has neither ab.safetensors nor ba.safetensors", path=path
        )
    return files


def read_domain(header: Mapping[str, Any], key: str, path: Path) -> Domain:
    """Return the domain `source` or `target` of a header. Raises UserError."""
    if not isinstance(header.get(key), dict):
        raise UserError(
            f"{path} does not describe its images, since an earlier version wrote it; resume its "
            "run, or train again, to have it written by this version",
            path=path,
        )
    domain = fill(Domain, header[key], str(path))
    domain.check_stored(path)
    return domain


def load_model(
    header: Mapping[str, Any],
    kind: str,
    registry: Mapping[str, tuple[Any, Any]],
    channels: tuple[int, ...],
    path: Path,
) -> nn.Module:
    """Build the network of a model file, and load its weights.

    Args:
        header: The header of the file.
        kind: `generator` or `discriminator`.
        registry: The networks of that kind, by name.
        channels: Numbers of channels that the network is built with.
        path: The file.

    Raises:
        UserError: The network is unknown or not imported, or its settings or weights are invalid.
    """
    settings = dict(header[kind])
    name = settings.pop("name", None)
    if name not in registry:
        require(header, path)
        raise UserError(f"{path} has an unknown {kind}, {name!r}", path=path)
    make, config_class = registry[name]
    config = fill(config_class, settings, str(path))
    return load_network(path, lambda: make(config, *channels))
