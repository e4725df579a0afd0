"""Write the weights of model files under the names of the reference implementation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..checkpoint.header import read_header, translator_files
from ..checkpoint.torch_files import write_torch_file
from ..config.run import completed
from ..errors import UserError
from ..fields import nested
from ..inference.model_files import load_model, read_domain
from ..networks import DISCRIMINATORS, GENERATORS
from .architecture import UnknownArchitecture
from .weights import reference_options, reference_weights


def export_models(path: Path, out: Path, overwrite: bool = False) -> list[str]:
    """Write .pth files that junyanz/pytorch-CycleGAN-and-pix2pix loads.

    Args:
        path: A model file, or a folder with ab.safetensors or ba.safetensors; the discriminators
            beside them are written, too.
        out: The folder of the .pth files, such as checkpoints/NAME.
        overwrite: Whether existing files are replaced.

    Returns:
        Lines on the files that were written, and the options of the reference for them.

    Raises:
        UserError: A file is invalid, or the reference has no such network.
    """
    translators = translator_files(path)
    files = list(translators)
    if path.is_dir():
        domains = [str(read_header(file).get("direction"))[-1:] for file in translators]
        files += [one for d in domains if (one := path / f"d_{d}.safetensors").is_file()]
    headers = {file: read_header(file) for file in files}
    for file, header in headers.items():
        if header.get("kind") not in ("translator", "discriminator"):
            raise UserError(f"{file}: the reference has no {header.get('kind')}", path=file)
    targets = {file: out / _name(header, len(translators) > 1) for file, header in headers.items()}
    for target in targets.values():
        if target.exists() and not overwrite:
            text = f"{target} exists; choose another -o, or add --overwrite"
            raise UserError(text, option="-o", path=target)
    weights: dict[Path, dict[str, Tensor]] = {}
    lines: list[str] = []
    norms: set[str] = set()
    for file, header in headers.items():
        kind = "discriminator" if header.get("kind") == "discriminator" else "generator"
        settings = completed({kind: header.get(kind, {})})[kind]
        norms.add(str(settings.get("norm")))
        try:
            if len(norms) > 1:
                raise UnknownArchitecture(
                    "the reference has one norm for all networks; name the generator alone"
                )
            weights[file] = reference_weights(settings, _network(header, kind, file).state_dict())
        except UnknownArchitecture as error:
            raise UserError(f"{file}: {error}", path=file) from None
        lines.append(f"{file} -> {targets[file]}: {reference_options(settings)}")
    for file, tensors in weights.items():
        write_torch_file(targets[file], tensors)
    notes = [
        _usage(headers[file]) for file in translators[:1] if headers[file]["kind"] == "translator"
    ]
    return [*lines, *notes]


def _network(header: dict[str, Any], network: str, file: Path) -> nn.Module:
    """Build the network of a file: its state dict has the order of the layers, a file has not."""
    domains = [read_domain(header, key, file) for key in ("source", "target")]
    for domain in domains:
        if domain.config.kind == "labels" or domain.dtype != "uint8":
            kind = domain.dtype if domain.config.kind == "image" else "label maps"
            raise UnknownArchitecture(f"the reference has images of 8 bits, not {kind}")
    source, target = (domain.config.width for domain in domains)
    if network == "generator":
        return load_model(header, network, GENERATORS, (source, target), file)
    channels = source + target if header.get("pair") else target
    return load_model(header, network, DISCRIMINATORS, (channels,), file)


def _name(header: dict[str, Any], both: bool) -> str:
    """Return the name of a file; the reference numbers directions: A is from A to B."""
    if header["kind"] == "translator":
        role, side = "G", {"ab": "A", "ba": "B"}[header["direction"]]
    else:
        role, side = "D", {"b": "A", "a": "B"}[header["domain"]]  # D_A discriminates B
    return f"latest_net_{role}{'_' + side if both else ''}.pth"


def _usage(header: dict[str, Any]) -> str:
    """Return the other options with which the reference translates as in training."""
    data, generator = nested(header, "trained", "data"), nested(header, "generator")
    method = nested(header, "trained", "method").get("name")
    model = {"pix2pix": "pix2pix", "cyclegan": "cycle_gan"}.get(str(method), "test")
    channels = {
        name: nested(header, end, "config").get("channels")
        for name, end in (("input_nc", "source"), ("output_nc", "target"))
    }
    words = [f"--model {model} --norm {generator.get('norm')}"]
    words += [f"--{name} {count}" for name, count in channels.items()]
    words += ["--direction BtoA"] * (header.get("direction") == data.get("direction") == "ba")
    words += ["--no_dropout"] * (not generator.get("dropout"))
    sizes = ("preprocess", "load_size", "crop_size")
    words += [f"--{name} {data[name]}" for name in sizes if isinstance(data.get(name), int | str)]
    text = f"options of the reference: {' '.join(words)}"
    if generator.get("dropout") and generator.get("name") == "unet":
        text += " (without --eval, its test script applies dropout, at levels of its own)"
    return text
