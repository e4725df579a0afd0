"""What a run keeps: the state it goes on from, its models, and weights to start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoint import fit_weights, read_header, save_network
from ..config.extensions import named
from ..config.recipes import changes
from ..config.run import RunConfig
from ..data.open import Datasets
from ..directions import in_data
from ..errors import UserError
from ..fields import plain
from ..images.domain import Domain
from ..losses import GANLoss
from ..methods.base import Discriminator, Method
from ..runtime.random_state import random_state, restore_random_state
from ..runtime.training import Runtime
from .step import Optimizers

State = dict[str, Any]
Domains = dict[str, Domain]


@dataclass
class Place:
    """Where a run stands: `epoch` from 1, the batches of it that are done, images seen in all."""

    epoch: int = 1
    batch: int = 0
    images: int = 0

    def left(self, length: int, batch_size: int, epochs: int) -> int:
        """Images still to process, in epochs of this length."""
        return max(0, length * (epochs - self.epoch + 1) - self.batch * batch_size)

    @property
    def last_epoch(self) -> int:
        """The epoch of the last step; 1 before the first."""
        return self.epoch if self.batch else max(1, self.epoch - 1)


def state_of(
    config: RunConfig, data: Datasets, method: Method, optimizers: Optimizers, place: Place,
    log: State, runtime: Runtime, monitor: State,
) -> State:  # fmt: skip
    """All that going on needs, and nothing that can be derived: the order of images, what is drawn
    for each and the rate follow from the settings, the seed and the place. Of several processes the
    first has it all; `others` is what differs in each of the rest."""
    own = {} if runtime.ranks.first else _own(method)
    return {
        "sections": config.sections,
        "domains": {name: plain(domain) for name, domain in data.train.domains.items()},
        "data": data.train.names_hash(),
        "contents": {
            "path": str(Path(config.data.path).absolute()), "split": data.split,
            "train": data.train.contents.state,
            "held_out": data.held_out.contents.state if data.held_out is not None else {},
        },
        "epoch": place.epoch, "batch": place.batch, "images": place.images,
        "method": method.state_dict(),
        "optimizers": {name: _moments(optimizer) for name, optimizer in optimizers.items()},
        "random": random_state(), "log": log,
        "runtime": {"format": runtime.memory_format, "scaler": runtime.precision.state_dict()},
        "others": runtime.ranks.gather(own)[1:],
        "monitor": monitor,
    }  # fmt: skip


def _own(method: Method) -> State:
    """What a process that is not the first has for itself: its pools, and its random numbers."""
    return {"buffers": dict(method.named_buffers()), "random": random_state()}


def restore(state: State, method: Method, optimizers: Optimizers, runtime: Runtime) -> Place:
    """Put a method, its optimizers and the random numbers where they were; returns the place.

    Of several processes, one that was not there before begins with the pools of the first. Raises
    UserError where the state is whole and yet not one of such a run.
    """
    own, index = state, runtime.ranks.index
    try:
        if known := 0 < index <= len(state["others"]):
            own = state["others"][index - 1]
        method.load_state_dict(state["method"] | (own["buffers"] if known else {}))
        for name, optimizer in optimizers.items():
            moments = {int(number): kept for number, kept in state["optimizers"][name].items()}
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": groups})
            _lay_out_alike(optimizer)
        restore_random_state(own["random"])
        if not known:
            runtime.ranks.offset_seed()
        runtime.precision.load_state_dict(state["runtime"]["scaler"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"the checkpoint is not one of such a run: {reason}") from None
    return Place(state["epoch"], state["batch"], state["images"])


def _lay_out_alike(optimizer: Any) -> None:
    """Adam's averages in the memory format of their weights, as one kernel wants them."""
    for weight, kept in optimizer.state.items():
        for name, value in kept.items():
            if value.shape == weight.shape and value.stride() != weight.stride():
                kept[name] = torch.empty_like(weight).copy_(value)


def _moments(optimizer: Any) -> State:
    """Adam's averages, weight by weight; its rates and betas are settings."""
    return {str(number): kept for number, kept in optimizer.state_dict()["state"].items()}


def write_models(
    folder: Path, config: RunConfig, domains: Domains, generators: dict[str, nn.Module],
    discriminators: dict[str, Discriminator], objective: GANLoss | None, about: dict[str, Any],
) -> None:  # fmt: skip
    """Write a file for each generator and each discriminator, named by the domains on disk.

    `about`: what the headers say besides: images seen, and whether weights are raw or averaged.
    """
    direction, sections = config.data.direction, config.sections
    about = {**about, "paired": config.paired, "trained": sections, **named()}
    described = {name: plain(domain) for name, domain in domains.items()}
    for name, network in generators.items():
        way = in_data(name, direction)
        header = {
            "kind": "translator", "direction": way, "generator": sections["generator"],
            "source": described[way[0]], "target": described[way[1]], **about,
        }  # fmt: skip
        save_network(folder / f"{way}.safetensors", network.state_dict(), header)
    for name, (network, conditional) in discriminators.items():
        domain = in_data(name, direction)
        header = {
            "kind": "discriminator", "domain": domain, "pair": conditional,
            "objective": objective.name if objective else None,
            "discriminator": sections["discriminator"], "target": described[domain],
            "source": described["b" if domain == "a" else "a"], **about,
        }  # fmt: skip
        save_network(folder / f"d_{domain}.safetensors", network.state_dict(), header)


def model_files(folder: Path) -> list[Path]:
    """Return the translators in a run folder."""
    return [
        path for path in (folder / "ab.safetensors", folder / "ba.safetensors") if path.is_file()
    ]


def start_from(method: Method, config: RunConfig, path: Path) -> str:
    """Begin with finished translators instead of fresh weights (fine-tuning); says with which."""
    files = model_files(path) if path.is_dir() else [path]
    if not files:
        raise UserError(f"train.init: the folder {path} holds no ab.safetensors or ba.safetensors")
    translators = {
        in_data(name, config.data.direction): network
        for name, network in method.translators().items()
    }
    begun: dict[str, Path] = {}
    for file in files:
        header = read_header(file)
        if header.get("kind") != "translator":
            raise UserError(f"train.init: {file} is a {header.get('kind')}, not a translator")
        if header["direction"] not in translators:
            if path.is_dir():
                continue
            raise UserError(
                f"train.init: {file} translates {header['direction']}, this run "
                f"{' and '.join(translators)}"
            )
        differ = changes({"generator": header["generator"]},
                         {"generator": config.sections["generator"]})  # fmt: skip
        if differ:
            raise UserError(
                f"train.init: {file} is of another architecture: {', '.join(differ[:5])}"
            )
        fit_weights(translators[header["direction"]], file)
        begun[header["direction"]] = file
    if not begun:
        raise UserError(
            f"train.init: {path} translates {' and '.join(f.stem for f in files)}, this run "
            f"{' and '.join(translators)}"
        )
    fresh = [way for way in translators if way not in begun]
    told = [f"{way} is initialized from {file}" for way, file in begun.items()]
    return "; ".join(told + [f"{way} is initialized randomly" for way in fresh])
