"""Model files of a run, and model files to start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint import fit_weights, read_header, save_network, translator_files
from ..config.extensions import named
from ..config.recipes import changes
from ..config.run import RunConfig, completed
from ..directions import ENDS, in_data
from ..errors import UserError
from ..fields import plain
from ..images.domain import Domain
from ..methods.base import Method
from .snapshot import Generators


def write_models(
    folder: Path,
    config: RunConfig,
    domains: Mapping[str, Domain],
    method: Method,
    generators: Generators,
    about: Mapping[str, Any],
) -> None:
    """Write a file per generator and discriminator, named by the domains of the dataset.

    Args:
        folder: The folder of the files.
        config: The settings of the run.
        domains: The domains of the dataset, by name.
        method: The method, with the discriminators.
        generators: The generators, by direction: those of the method, or their EMA.
        about: More fields of the headers, such as the images processed.
    """
    direction, sections = config.data.direction, config.sections
    about = {**about, "paired": config.paired, "trained": sections, **named()}
    described = {name: plain(domain) for name, domain in domains.items()}
    objective = method.objective.name if method.objective else None
    for name, network in generators.items():
        in_files = in_data(name, direction)
        source, target = ENDS[in_files]
        header = {
            "kind": "translator",
            "direction": in_files,
            "generator": sections["generator"],
            "source": described[source],
            "target": described[target],
            **about,
        }
        save_network(folder / f"{in_files}.safetensors", network.state_dict(), header)
    for end, (network, conditional) in method.discriminators().items():
        domain = in_data(end, direction)
        header = {
            "kind": "discriminator",
            "domain": domain,
            "pair": conditional,
            "objective": objective,
            "discriminator": sections["discriminator"],
            "target": described[domain],
            "source": described["b" if domain == "a" else "a"],
            **about,
        }
        save_network(folder / f"d_{domain}.safetensors", network.state_dict(), header)


def start_from(method: Method, config: RunConfig, path: Path) -> str:
    """Load the weights of finished models into the generators (fine-tuning).

    Args:
        method: The method.
        config: The settings of the run.
        path: A model file, or a folder with ab.safetensors or ba.safetensors.

    Returns:
        A sentence for the log.

    Raises:
        UserError: The models do not fit the run.
    """

    def refuse(message: str) -> UserError:
        return UserError(f"train.init: {message}", option="train.init", path=path)

    files = translator_files(path)
    generators = {
        in_data(name, config.data.direction): network
        for name, network in method.translators().items()
    }
    loaded: dict[str, Path] = {}
    for file in files:
        header = read_header(file)
        if header.get("kind") != "translator":
            raise refuse(f"{file} is a {header.get('kind')}, not a translator")
        if header["direction"] not in generators:
            continue
        before = completed({"generator": header["generator"]})
        if different := changes(before, {"generator": config.sections["generator"]}):
            raise refuse(f"{file} has another architecture: {', '.join(different[:5])}")
        fit_weights(generators[header["direction"]], file)
        loaded[header["direction"]] = file
    if not loaded:
        raise refuse(
            f"{path} translates {' and '.join(read_header(f)['direction'] for f in files)}, "
            f"this run translates {' and '.join(generators)}"
        )
    lines = [f"{which} is initialized from {file}" for which, file in loaded.items()]
    lines += [f"{which} is initialized randomly" for which in generators if which not in loaded]
    return "; ".join(lines)
