"""Convert weights of other implementations to model files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..checkpoint.models import save_network
from ..checkpoint.torch_files import read_torch_file
from ..config.run import completed
from ..directions import ENDS, SWAPPED, Direction
from ..errors import UserError
from ..fields import as_typed, plain
from ..files import sha256
from ..images.domain import Domain
from .architecture import Architecture, UnknownArchitecture, recognize
from .network_file import NetworkFile, fit_domains
from .options import SavedOptions, read_options
from .weights import build

NETWORK = re.compile(r"(?P<epoch>.+)_net_(?P<role>\w+?)(?:_(?P<side>[AB]))?\.pth")
ROLES = {"generator": "G", "discriminator": "D"}
# Defaults of the reference.
DEFAULTS = {"preprocess": "resize_and_crop", "load_size": 286, "crop_size": 256, "flip": True}


@dataclass(frozen=True)
class ImportOptions:
    """Settings that weights do not contain; None: from the saved options, or the default."""

    epoch: str = "latest"
    direction: Direction | None = None
    dropout: bool | None = None
    gan_loss: str | None = None
    preprocess: str | None = None
    load_size: int | None = None
    crop_size: int | None = None
    flip: bool | None = None


def import_models(
    path: Path, out: Path, options: ImportOptions, overwrite: bool = False
) -> list[str]:
    """Write model files with the weights of another implementation.

    Args:
        path: A .pth file, or a folder such as checkpoints/NAME.
        out: The folder of the model files: ab.safetensors, d_b.safetensors, and so on.
        options: Settings that the weights do not contain.
        overwrite: Whether existing files are replaced.

    Returns:
        Lines on the files that were written and skipped, and on the settings that were assumed.

    Raises:
        UserError: A file is missing or invalid, or its network cannot be built here.
    """
    if (out / "config.json").exists():
        raise UserError(f"-o {out} is the folder of a run; choose another folder", option="-o")
    files, skipped = _files(path, options.epoch)
    saved = read_options(path if path.is_dir() else path.parent)
    if saved.maps:
        raise UserError(
            f"{saved.file}: inputs of label maps, edges of instances or features (pix2pixHD) are "
            "not available",
            path=saved.file,
        )
    networks = [_read(file) for file in files]
    method = saved.method or _method(networks)
    settings, origins = _complete(options, saved, networks, method)
    direction = settings.direction or "ab"
    networks = [
        replace(one, direction=SWAPPED[direction] if one.side == "B" else direction)
        for one in networks
    ]
    _check_outputs(networks, out, overwrite)
    domains = fit_domains(networks, saved, method)
    about = {
        "paired": method == "pix2pix",
        "trained": {
            "method": {"name": method},
            "data": {
                "path": "",
                "direction": direction,
                **{name: getattr(settings, name) for name in DEFAULTS},
            },
        },
    }
    headers = [
        (_translator if one.generates else _discriminator)(one, domains, settings)
        for one in networks
    ]
    lines = []
    for one, header in zip(networks, headers, strict=True):
        origin = {"file": one.path.name, "sha256": sha256(one.path)}
        header |= {**about, "converted_from": origin}
        save_network(out / one.name, one.network.state_dict(), header)
        lines.append(f"{one.path} -> {out / one.name}: {_description(one.architecture)}")
    return [*lines, *(f"{file}: skipped, not needed here" for file in skipped), *origins]


def _files(path: Path, epoch: str) -> tuple[list[Path], list[Path]]:
    """Return the files of generators and discriminators, and those of other networks."""
    if not path.is_dir():
        return [path], []
    named = [(file, NETWORK.fullmatch(file.name)) for file in sorted(path.iterdir())]
    found = [(file, match) for file, match in named if match]
    of_epoch = [
        (file, match["role"] in ROLES.values()) for file, match in found if match["epoch"] == epoch
    ]
    chosen = [file for file, needed in of_epoch if needed]
    if chosen:
        return chosen, [file for file, needed in of_epoch if not needed]
    if found:
        epochs = sorted({match["epoch"] for _, match in found}, key=lambda e: (len(e), e))
        raise UserError(
            f"{path} has no weights of epoch {epoch}; it has {', '.join(epochs)}", option="--epoch"
        )
    raise UserError(
        f"{path} has no file such as {epoch}_net_G.pth; name a folder of checkpoints, or a file",
        path=path,
    )


def _read(path: Path) -> NetworkFile:
    try:
        architecture = recognize(read_torch_file(path))
        network = build(architecture)
    except UnknownArchitecture as error:
        raise UserError(f"{path}: {error}", path=path) from None
    named = NETWORK.fullmatch(path.name)
    if named and named["role"] in ROLES.values() and named["role"] != ROLES[architecture.kind]:
        raise UserError(f"{path} has a {architecture.kind}, unlike its name; rename it", path=path)
    return NetworkFile(path, (named["side"] or "") if named else "", architecture, network)


def _method(networks: list[NetworkFile]) -> str:
    """Return the method that trained networks, by their names and channels."""
    if any(one.side for one in networks):
        return "cyclegan"
    generators = [one.architecture for one in networks if one.generates]
    for one in networks:
        if not one.generates and generators:
            pair = one.architecture.channels[0] == sum(generators[0].channels)
            return "pix2pix" if pair else "cut"
    unet = any(one.settings["name"] == "unet" for one in generators)
    return "pix2pix" if unet or not generators else "cyclegan"


def _complete(
    options: ImportOptions, saved: SavedOptions, networks: list[NetworkFile], method: str
) -> tuple[ImportOptions, list[str]]:
    """Replace None in options by saved options or defaults.

    Returns:
        The complete options, and lines that list the values read from files and the assumed values.
    """
    defaults: dict[str, Any] = {"direction": "ab", **DEFAULTS}
    if any(one.architecture.settings["name"] == "unet" for one in networks):
        defaults["dropout"] = method == "pix2pix"
    discriminators = [one.architecture.settings for one in networks if not one.generates]
    if discriminators:
        is_hd = any(settings.get("padding") == "two" for settings in discriminators)
        defaults["gan_loss"] = "bce" if method == "pix2pix" and not is_hd else "lsgan"
    read: dict[str, Any] = {"method": method} if saved.method else {}
    assumed: dict[str, Any] = {} if saved.method else {"method": method}
    for name, default in defaults.items():
        if getattr(options, name) is None:
            known = getattr(saved, name)
            (assumed if known is None else read)[name] = default if known is None else known
    values = {name: one for name, one in (read | assumed).items() if name != "method"}
    if not saved.lab:
        assumed["images"] = "8 bits"
    lines = [f"{saved.file}: {text} is not available" for text in saved.unknown]
    for where, found in ((f"from {saved.file}", read), ("assumed", assumed)):
        if found:
            text = ", ".join(f"{name} {as_typed(value)}" for name, value in found.items())
            lines.append(f"{where}: {text}")
    return replace(options, **values), lines


def _check_outputs(networks: list[NetworkFile], out: Path, overwrite: bool) -> None:
    """Raise UserError if two networks have the same model file, or one exists."""
    if out.exists() and not out.is_dir():
        raise UserError(f"-o {out} is a file; choose a folder", option="-o", path=out)
    files: dict[str, Path] = {}
    for one in networks:
        if one.name in files:
            raise UserError(
                f"{files[one.name]} and {one.path} would both be {out / one.name}; convert one of "
                "them by its name",
                path=one.path,
            )
        files[one.name] = one.path
        if (out / one.name).exists() and not overwrite:
            text = f"{out / one.name} exists; choose another -o, or add --overwrite"
            raise UserError(text, option="-o")


def _translator(
    one: NetworkFile, domains: Mapping[str, Domain], options: ImportOptions
) -> dict[str, Any]:
    settings = dict(one.architecture.settings)
    if settings["name"] == "unet":
        settings["dropout"] = 0.5 if options.dropout else 0.0
    source, target = ENDS[one.direction]
    return {
        "kind": "translator",
        "direction": one.direction,
        "generator": completed({"generator": settings})["generator"],
        "source": plain(domains[source]),
        "target": plain(domains[target]),
    }


def _discriminator(
    one: NetworkFile, domains: Mapping[str, Domain], options: ImportOptions
) -> dict[str, Any]:
    source, target = (domains[end] for end in ENDS[one.direction])
    (count,) = one.architecture.channels
    pair = count == source.config.width + target.config.width
    if not pair and count != target.config.width:
        raise UserError(
            f"{one.path} takes {count} channels, neither images of {target.config.width} nor pairs "
            f"of {source.config.width} and {target.config.width}",
            path=one.path,
        )
    return {
        "kind": "discriminator",
        "domain": one.direction[1],
        "pair": pair,
        "objective": options.gan_loss,
        "discriminator": completed({"discriminator": one.architecture.settings})["discriminator"],
        "source": plain(source),
        "target": plain(target),
    }


def _description(architecture: Architecture) -> str:
    shown = ("width", "depth", "downsamplings", "blocks", "layers", "scales", "norm")
    settings = architecture.settings
    words = [f"{name} {settings[name]}" for name in shown if name in settings]
    words += ["anti-aliased"] * bool(settings.get("antialias"))
    channels = " -> ".join(map(str, architecture.channels))
    return f"{settings['name']}, {', '.join(words)}, channels {channels}"
