"""What a run keeps: the state it goes on from, its models, and weights to start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .build import RunConfig, model_files, on_disk
from .checkpoint import fit_weights, read_header, save_network
from .config import SECTIONS, Sections, fill, plain
from .data.dataset import Pictures
from .errors import UserError
from .images.domain import Domain
from .methods import Method
from .runtime import Runtime, random_state, restore_random_state
from .update import Optimizers

FIELDS = frozenset({
    "sections", "domains", "data", "epoch", "batch", "images", "method", "optimizers", "random",
    "log", "runtime", "others", "monitor",
})  # fmt: skip
State = dict[str, Any]
Domains = dict[str, Domain]


@dataclass
class Place:
    """Where a run stands: `epoch` from 1, the batches of it that are done, images seen in all."""

    epoch: int = 1
    batch: int = 0
    images: int = 0

    @property
    def last_epoch(self) -> int:
        """The epoch of the last step; 1 before the first."""
        return self.epoch if self.batch else max(1, self.epoch - 1)


def state_of(
    config: RunConfig, pictures: Pictures, method: Method, optimizers: Optimizers, place: Place,
    log: State, runtime: Runtime, monitor: State,
) -> State:  # fmt: skip
    """All that going on needs, and nothing that can be derived: the order of images, what is drawn
    for each and the rate follow from the settings, the seed and the place. Of several processes the
    first has it all; `others` is what differs in each of the rest."""
    own = {} if runtime.ranks.first else _own(method)
    return {
        "sections": config.sections,
        "domains": {name: plain(domain) for name, domain in pictures.domains.items()},
        "data": pictures.fingerprint(),
        "epoch": place.epoch, "batch": place.batch, "images": place.images,
        "method": method.state_dict(),
        "optimizers": {name: _moments(optimizer) for name, optimizer in optimizers.items()},
        "random": random_state(), "log": log,
        "runtime": {"format": runtime.memory_format, "scaler": runtime.scaler_state()},
        "others": runtime.ranks.at_first(own)[1:],
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
            runtime.ranks.vary_randomness()
        runtime.restore_scaler(state["runtime"]["scaler"])
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


def refuse_other_run(state: State, config: RunConfig, pictures: Pictures, path: Path) -> None:
    """Raises UserError where a checkpoint is of another architecture, method, data or values."""
    folder = config.train.run or path.parent.parent
    if missing := sorted(FIELDS - state.keys()):
        raise UserError(f"{path} has no {', '.join(missing)}: it is not of this version")
    tables = ("sections", "domains", "method", "optimizers", "random", "log", "runtime",
              "monitor")  # fmt: skip
    counts = ("epoch", "batch", "images")
    if not (
        all(isinstance(state[name], dict) for name in tables)
        and isinstance(state["others"], list)
        and all(type(state[name]) is int and state[name] >= 0 for name in counts)
        and all(isinstance(state["sections"].get(name), dict) for name in SECTIONS)
    ):
        raise UserError(f"{path} is not a checkpoint that a run wrote")
    for section in ("method", "generator", "discriminator"):
        if state["sections"][section] != config.sections[section]:
            differ = changes(
                {section: state["sections"][section]}, {section: config.sections[section]}
            )
            raise UserError(
                f"{folder} holds a run with another {section} ({', '.join(differ[:5])}); choose "
                "another train.run, or the settings of that run: viceversa train "
                f"{folder}/config.json"
            )
    direction = state["sections"]["data"]["direction"]
    if direction != config.data.direction:
        raise UserError(
            f"{folder} holds a run of data.direction {direction}; choose another train.run"
        )
    before = state["sections"]["data"]["path"]
    moved = Path(before).absolute() != Path(config.data.path).absolute()
    if moved and state["data"] != pictures.fingerprint():
        raise UserError(
            f"{folder} learnt from {before}, whose images have other names than those of "
            f"{config.data.path}; choose another train.run"
        )
    for name, domain in pictures.domains.items():
        before = fill(Domain, state["domains"][name], str(path))  # as this version would write it
        if _learnt(plain(before)) != _learnt(plain(domain)):
            raise UserError(
                f"{folder} learnt domain {name.upper()} with another range or kind of values (its "
                f"config.json and model files say which); give data.{name}.range in numbers to go "
                "on"
            )
    reached = state["epoch"] if state["batch"] else state["epoch"] - 1
    if config.train.epochs < reached:
        raise UserError(
            f"{folder} has reached epoch {reached}, and train.epochs is {config.train.epochs}; set "
            f"train.epochs to {reached} or more, or choose another train.run",
            option="train.epochs",
            path=path,
        )
    batch_size = state["sections"]["train"]["batch_size"]
    if state["batch"] and batch_size != config.train.batch_size:
        raise UserError(
            f"{folder} stands in the middle of an epoch with train.batch_size {batch_size}; keep "
            "that size to go on"
        )


def _learnt(domain: dict[str, Any]) -> dict[str, Any]:
    """What a domain's values mean; not the words that its range was given in, nor metadata."""
    config = {k: v for k, v in domain["config"].items() if k not in ("range", "percentiles")}
    return {**domain, "config": config, "icc": "", "metadata": ""}


def changes(before: Sections, now: Sections) -> list[str]:
    """The settings that differ, each as `train.lr 0.0002 -> 0.0001`."""
    old, new = (dict(_flat(_as_stored(sections))) for sections in (before, now))
    return [
        f"{key} {old.get(key)!r} -> {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def going_on(
    before: Sections, config: RunConfig, place: Place, file: str, rate: float
) -> list[str]:
    """What a run says that goes on from a `file`: where it stands, and what is not as before."""
    told = [
        f"going on from {file}: epoch {place.epoch}, batch {place.batch + 1}, {place.images} "
        "images seen"
    ]
    known = dict(_flat(before))  # not the options that the earlier version did not have
    told += [
        f"changed since then: {change}"
        for change in changes(before, config.sections)
        if change.split()[0] in known
    ]
    planned = ("epochs", "schedule", "decay", "lr")
    if any(before["train"][key] != config.sections["train"][key] for key in planned):
        told.append(
            f"the schedule is planned anew: epoch {place.epoch} of {config.train.epochs} has the "
            f"rate {rate:.4g}"
        )
    return told


def _flat(table: dict[str, Any], before: str = "") -> Any:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _as_stored(value: Any) -> Any:
    """As JSON gives it back: lists in place of tuples."""
    if isinstance(value, dict):
        return {key: _as_stored(inner) for key, inner in value.items()}
    return [_as_stored(inner) for inner in value] if isinstance(value, list | tuple) else value


def write_models(
    folder: Path, config: RunConfig, domains: Domains, generators: dict[str, nn.Module],
    judges: dict[str, tuple[nn.Module, bool]], about: dict[str, Any],
) -> None:  # fmt: skip
    """Write a file for each generator and each discriminator, named by the domains on disk.

    `about`: what the headers say besides: images seen, and whether weights are raw or averaged.
    """
    direction, sections = config.data.direction, config.sections
    about = {**about, "paired": config.paired, "trained": sections}
    described = {name: plain(domain) for name, domain in domains.items()}
    for name, network in generators.items():
        way = on_disk(name, direction)
        header = {
            "kind": "translator", "direction": way, "generator": sections["generator"],
            "source": described[way[0]], "target": described[way[1]], **about,
        }  # fmt: skip
        save_network(folder / f"{way}.safetensors", network.state_dict(), header)
    for name, (network, wants_pair) in judges.items():
        domain = on_disk(name, direction)
        header = {
            "kind": "discriminator", "domain": domain, "pair": wants_pair,
            "discriminator": sections["discriminator"], "target": described[domain],
            "source": described["b" if domain == "a" else "a"], **about,
        }  # fmt: skip
        save_network(folder / f"d_{domain}.safetensors", network.state_dict(), header)


def start_from(method: Method, config: RunConfig, path: Path) -> str:
    """Begin with finished translators instead of fresh weights (fine-tuning); says with which."""
    files = model_files(path) if path.is_dir() else [path]
    if not files:
        raise UserError(f"train.init: the folder {path} holds no ab.safetensors or ba.safetensors")
    translators = {
        on_disk(name, config.data.direction): network
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
    told = [f"{way} begins with the weights of {file}" for way, file in begun.items()]
    return "; ".join(told + [f"{way} starts fresh" for way in fresh])
