"""Write the weights of model files under the names of the reference implementation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ..checkpoint.header import read_header, translator_files
from ..checkpoint.torch_files import write_torch_file
from ..config.run import completed
from ..errors import UserError
from ..fields import nested
from ..inference.model_files import load_model, read_domain
from ..networks import DISCRIMINATORS, GENERATORS
from .architecture import UnknownArchitecture
from .weights import reference_options, reference_weights


def export_models(path: Path, out: Path) -> list[str]:
    """Write .pth files that junyanz/pytorch-CycleGAN-and-pix2pix loads.

    Args:
        path: A model file, or a folder with ab.safetensors or ba.safetensors; the discriminators
            beside them are written, too.
        out: The folder of the .pth files, such as checkpoints/NAME.

    Returns:
        Lines that say what was written, and with which options the reference builds it.

    Raises:
        UserError: A file is invalid, or the reference has no such network.
    """
    translators = translator_files(path)
    files = list(translators)
    if path.is_dir():
        targets = [read_header(file)["direction"][-1:] for file in translators]
        files += [one for t in targets if (one := path / f"d_{t}.safetensors").is_file()]
    lines = []
    for file in files:
        header = read_header(file)
        kind = "discriminator" if header.get("kind") == "discriminator" else "generator"
        settings = completed({kind: header.get(kind, {})})[kind]
        try:
            if header.get("kind") not in ("translator", "discriminator"):
                raise UnknownArchitecture(f"the reference has no {header.get('kind')}")
            weights = reference_weights(settings, _network(header, kind, file).state_dict())
        except UnknownArchitecture as error:
            raise UserError(f"{file}: {error}", path=file) from None
        target = out / _name(header, len(translators) > 1)
        write_torch_file(target, weights)
        lines.append(f"{file} -> {target}: {reference_options(settings)} --norm {settings['norm']}")
    return [*lines, *_usage(read_header(files[0]))]


def _network(header: dict[str, Any], kind: str, file: Path) -> nn.Module:
    """Build the network of a file: its state dict has the order of the layers, a file has not."""
    source, target = (read_domain(header, key, file).config.width for key in ("source", "target"))
    if kind == "generator":
        return load_model(header, kind, GENERATORS, (source, target), file)
    channels = source + target if header.get("pair") else target
    return load_model(header, kind, DISCRIMINATORS, (channels,), file)


def _name(header: dict[str, Any], both: bool) -> str:
    """Return the name of a file; the reference numbers directions: A is from A to B."""
    if header["kind"] == "translator":
        role, side = "G", {"ab": "A", "ba": "B"}[header["direction"]]
    else:
        role, side = "D", {"b": "A", "a": "B"}[header["domain"]]  # D_A discriminates B
    return f"latest_net_{role}{'_' + side if both else ''}.pth"


def _usage(header: dict[str, Any]) -> list[str]:
    """Return the other options with which the reference translates as in training."""
    data = nested(header, "trained", "data")
    generator = nested(header, "generator")
    words = []
    if (
        header.get("direction") == "ba"
        and nested(header, "trained", "data").get("direction") == "ba"
    ):
        words.append("--direction BtoA")
    if generator and not generator.get("dropout"):
        words.append("--no_dropout")
    for name in ("preprocess", "load_size", "crop_size"):
        if isinstance(data.get(name), int | str):
            words.append(f"--{name} {data[name]}")
    return [f"options of the reference: {' '.join(words)}"] if words else []
