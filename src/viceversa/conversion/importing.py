"""Convert weights of other implementations to model files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ..checkpoint.models import save_network
from ..checkpoint.torch_files import read_torch_file
from ..config.run import completed
from ..directions import ENDS, SWAPPED, Direction
from ..errors import UserError
from ..fields import as_typed, plain
from ..files import sha256
from ..images.domain import Domain, DomainConfig
from .architecture import Architecture, UnknownArchitecture, recognize
from .options import SavedOptions, read_options
from .weights import build

NETWORK = re.compile(r"(?P<epoch>.+)_net_(?P<role>[GD])(?P<side>_[AB])?\.pth")
DEFAULTS = {"preprocess": "resize_and_crop", "load_size": 286, "crop_size": 256}  # the reference's


@dataclass(frozen=True)
class ImportOptions:
    """What the weights do not tell: None is what was saved beside them, or the default."""

    epoch: str = "latest"
    direction: Direction | None = None
    dropout: bool | None = None
    preprocess: str | None = None
    load_size: int | None = None
    crop_size: int | None = None


@dataclass(frozen=True)
class _Found:
    """A network in a file: `role` is G or D, `side` _A or _B in CycleGAN."""

    path: Path
    role: Literal["G", "D"]
    side: str
    architecture: Architecture
    network: nn.Module


def import_models(path: Path, out: Path, options: ImportOptions) -> list[str]:
    """Write model files with the weights of another implementation.

    Args:
        path: A .pth file, or a folder such as checkpoints/NAME.
        out: The folder of the model files: ab.safetensors, d_b.safetensors, and so on.
        options: What the weights do not tell.

    Returns:
        Lines that say what was written, and what was assumed.

    Raises:
        UserError: A file is missing or invalid, or its network cannot be built here.
    """
    if (out / "config.json").exists():
        raise UserError(f"-o {out} is the folder of a run; choose another folder", option="-o")
    networks = [_read(file) for file in _files(path, options.epoch)]
    saved = read_options(path if path.is_dir() else path.parent)
    method = saved.method or _method(networks)
    completed_options, told = _complete(options, saved, networks, method)
    direction = completed_options.direction or "ab"
    domains = _domains(networks, direction, saved.colours)
    about = {
        "paired": method == "pix2pix",
        "trained": {
            "method": {"name": method},
            "data": {
                "path": "",
                "direction": direction,
                "flip": saved.flip is not False,
                **{name: getattr(completed_options, name) for name in DEFAULTS},
            },
        },
    }
    lines = []
    for one in networks:
        own = SWAPPED[direction] if one.side == "_B" else direction
        if one.role == "G":
            name, header = f"{own}.safetensors", _translator(one, own, domains, completed_options)
        else:
            objective = saved.objective or ("bce" if _is_pix2pix(one, method) else "lsgan")
            name = f"d_{own[1]}.safetensors"
            header = _discriminator(one, own, domains, objective)
        origin = {"file": one.path.name, "sha256": sha256(one.path)}
        save_network(
            out / name, one.network.state_dict(), {**header, **about, "converted_from": origin}
        )
        lines.append(f"{one.path} -> {out / name}: {_text(one.architecture)}")
    return lines + told


def _files(path: Path, epoch: str) -> list[Path]:
    """Return the files of generators and discriminators. Raises UserError if there are none."""
    if not path.is_dir():
        return [path]
    found = [file for file in sorted(path.iterdir()) if NETWORK.fullmatch(file.name)]
    chosen = [file for file in found if file.name.startswith(f"{epoch}_net_")]
    if chosen:
        return chosen
    epochs = sorted({str(NETWORK.fullmatch(file.name)["epoch"]) for file in found})  # type: ignore[index]
    if epochs:
        raise UserError(
            f"{path} has no weights of epoch {epoch}; it has {', '.join(epochs)}", option="--epoch"
        )
    raise UserError(
        f"{path} has no file such as {epoch}_net_G.pth; name a folder of checkpoints, or a file",
        path=path,
    )


def _read(path: Path) -> _Found:
    try:
        architecture = recognize(read_torch_file(path))
        network = build(architecture)
    except UnknownArchitecture as error:
        raise UserError(f"{path}: {error}", path=path) from None
    named = NETWORK.fullmatch(path.name)
    role: Literal["G", "D"] = "G" if architecture.kind == "generator" else "D"
    return _Found(path, role, (named["side"] or "") if named else "", architecture, network)


def _method(networks: list[_Found]) -> str:
    """Return the method that trained networks, by their names and channels."""
    if any(one.side for one in networks):
        return "cyclegan"
    generators = [one.architecture for one in networks if one.role == "G"]
    for one in networks:
        if one.role == "D" and generators:
            pair = one.architecture.channels[0] == sum(generators[0].channels)
            return "pix2pix" if pair else "cut"
    unet = any(one.settings["name"] == "unet" for one in generators)
    return "pix2pix" if unet or not generators else "cyclegan"


def _complete(
    options: ImportOptions, saved: SavedOptions, networks: list[_Found], method: str
) -> tuple[ImportOptions, list[str]]:
    """Return options without None, and lines on where those that were not given come from."""
    defaults: dict[str, Any] = {"direction": "ab", **DEFAULTS}
    if any(one.architecture.settings["name"] == "unet" for one in networks):
        defaults["dropout"] = method == "pix2pix"
    read: dict[str, Any] = {"method": method} if saved.method else {}
    assumed: dict[str, Any] = {} if saved.method else {"method": method}
    for name, default in defaults.items():
        if getattr(options, name) is None:
            known = getattr(saved, name)
            (assumed if known is None else read)[name] = default if known is None else known
    lines = []
    for where, found in ((f"from {saved.file}", read), ("assumed", assumed)):
        if found:
            text = ", ".join(f"{name} {as_typed(value)}" for name, value in found.items())
            lines.append(f"{where}: {text}")
    values = {name: one for name, one in (read | assumed).items() if name != "method"}
    return replace(options, **values), lines


def _domains(networks: list[_Found], direction: Direction, colours: bool) -> dict[str, Domain]:
    """Return the domains A and B of 8-bit images with the channels of the networks."""
    channels: dict[str, int] = {}
    for one in networks:
        own = SWAPPED[direction] if one.side == "_B" else direction
        given = one.architecture.channels
        if one.role == "G":
            channels |= dict(zip(ENDS[own], given, strict=True))
    for one in networks:
        own = SWAPPED[direction] if one.side == "_B" else direction
        if one.role == "D" and own[1] not in channels:
            half, odd = divmod(one.architecture.channels[0], 2)
            pair = half in (1, 3) and not odd  # of grey or RGB images
            channels |= {end: half if pair else one.architecture.channels[0] for end in ENDS[own]}
    kinds = {1: "lab-l", 2: "lab-ab"} if colours else {}
    return {name: _domain(count, kinds.get(count, "image")) for name, count in channels.items()}


def _domain(channels: int, kind: Any) -> Domain:
    if kind != "image":
        return Domain(DomainConfig(kind=kind), "uint8", (0.0,), (255.0,))
    low, high = (0.0,) * channels, (255.0,) * channels
    return Domain(DomainConfig(channels=channels), "uint8", low, high)


def _translator(
    one: _Found, direction: Direction, domains: Mapping[str, Domain], options: ImportOptions
) -> dict[str, Any]:
    settings = dict(one.architecture.settings)
    if settings["name"] == "unet":
        settings["dropout"] = 0.5 if options.dropout else 0.0
    source, target = ENDS[direction]
    return {
        "kind": "translator",
        "direction": direction,
        "generator": completed({"generator": settings})["generator"],
        "source": plain(domains[source]),
        "target": plain(domains[target]),
    }


def _discriminator(
    one: _Found, direction: Direction, domains: Mapping[str, Domain], objective: str
) -> dict[str, Any]:
    source, target = (domains[end] for end in ENDS[direction])
    return {
        "kind": "discriminator",
        "domain": direction[1],
        "pair": one.architecture.channels[0] == source.config.width + target.config.width,
        "objective": objective,
        "discriminator": completed({"discriminator": one.architecture.settings})["discriminator"],
        "source": plain(source),
        "target": plain(target),
    }


def _is_pix2pix(one: _Found, method: str) -> bool:
    """Whether a discriminator is of pix2pix, and not of pix2pixHD, which has other defaults."""
    return method == "pix2pix" and one.architecture.settings.get("scales", 1) == 1


def _text(architecture: Architecture) -> str:
    settings = dict(architecture.settings)
    hidden = {
        "dropout_from",
        "dropout_layers",
        "antialias" if not settings.get("antialias") else "",
    }
    options = [
        f"{key} {as_typed(v)}" for key, v in settings.items() if key not in {"name", *hidden}
    ]
    channels = " -> ".join(map(str, architecture.channels))
    return f"{settings['name']}, {', '.join(options)}, channels {channels}"
