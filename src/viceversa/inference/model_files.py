"""Model files: their domains and networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..checkpoint import load_network, read_digest
from ..checkpoint.exported import is_exported
from ..config.extensions import OPTION, require
from ..errors import UserError
from ..fields import fill, nested
from ..images.domain import Domain
from ..networks import GENERATORS
from ..networks.ensemble import MAX_MEMBERS, Ensemble
from .exported import format_of, load_exported


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
        raise UserError(
            f"{path} has an unknown {kind}, {name!r}; if it is your own, add {OPTION} with the "
            "module that defines it, or import that module in Python first",
            path=path,
        )
    make, config_class = registry[name]
    config = fill(config_class, settings, str(path))
    if header.get("kind") != "ensemble":
        return load_network(path, lambda: make(config, *channels))
    count = len(header["members"])
    if not 1 <= count <= MAX_MEMBERS:
        raise UserError(f"{path} has {count} members, not 1 to {MAX_MEMBERS}", path=path)
    return load_network(path, lambda: Ensemble([make(config, *channels) for _ in range(count)]))


def load_generator(
    header: Mapping[str, Any], domains: tuple[Domain, Domain], path: Path, flips: bool
) -> nn.Module:
    """Build the generator, or the ensemble, of a model file, and load its weights.

    Args:
        header: The header of the file.
        domains: The source and target domains.
        path: The file.
        flips: Whether to average the outputs for mirrored images, as training mirrored them.

    Raises:
        UserError: As `load_model`; or the model was not trained on mirrored images.
    """
    network: nn.Module
    if is_exported(path):
        network = load_exported(header, domains, path, flips)
    else:
        channels = tuple(one.config.width for one in domains)
        network = load_model(header, "generator", GENERATORS, channels, path)
    if not flips:
        return network
    data = nested(header, "trained", "data")
    axes = [axis for axis, name in ((3, "flip"), (2, "flip_vertical")) if data.get(name) is True]
    if not axes:
        raise UserError(
            f"{path} was not trained on mirrored images (data.flip, data.flip_vertical), so that "
            "its outputs for them are worse; leave out --flips",
            option="--flips",
            path=path,
        )
    if isinstance(network, Ensemble):
        return Ensemble(list(network.members), axes)
    return Ensemble([network], axes)


def description(header: Mapping[str, Any], path: Path) -> str:
    """Return the file, method, direction, network and digest of a model in one line."""
    method = nested(header, "trained", "method").get("name", "unknown method")
    direction, name = header["direction"].upper(), header["generator"]["name"]
    members = f"ensemble of {len(header['members'])}, " if header["kind"] == "ensemble" else ""
    runtime = f", {format_of(path).runtime}" if is_exported(path) else ""
    return (
        f"{path}: {members}{method}, {direction[:1]} to {direction[1:]}, {name}{runtime}, "
        f"sha256 {read_digest(path)[:12]}"
    )
