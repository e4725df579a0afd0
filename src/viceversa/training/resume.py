"""Whether a run may resume from a checkpoint, and what it reports about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ..config.compatibility import removed, without_removed
from ..config.recipes import SECTIONS, Sections, changes, flat
from ..config.run import RunConfig
from ..data import contents
from ..data.contents import Contents
from ..data.open import Datasets
from ..errors import UserError
from ..fields import fill, plain
from ..images.domain import Domain
from .checkpoint import Place, State

FIELDS = frozenset({
    "sections", "domains", "data", "epoch", "batch", "images", "method", "optimizers", "random",
    "log", "runtime", "others", "monitor",
})  # fmt: skip


class News(NamedTuple):
    """What changed in the data since a checkpoint."""

    lines: list[str]
    restart: bool
    """Whether the epoch must restart: it had begun, and its images are others."""


def refuse_other_run(state: State, config: RunConfig, data: Datasets, path: Path) -> News:
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
        differ = changes({section: state["sections"][section]}, {section: config.sections[section]})
        if differ:
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
    news = compare_data(state, config, data, folder)
    for name, domain in data.train.domains.items():
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
            f"{folder} was saved in the middle of an epoch with train.batch_size {batch_size}; "
            "resume it with the same train.batch_size"
        )
    return news


def compare_data(state: State, config: RunConfig, data: Datasets, folder: Path | str) -> News:
    """Compare the images with those that a checkpoint lists.

    Raises UserError where A and B are swapped, or the images are those of another data set.
    """
    kept = state.get("contents")
    path = config.data.path
    if kept is None:
        return _compare_names(state, config, data, folder)
    try:
        train = contents.compare(Contents.of_state(kept["train"]), data.train.contents)
        held_out = None
        if kept["held_out"] and data.held_out is not None:
            held_out = contents.compare(Contents.of_state(kept["held_out"]),
                                        data.held_out.contents)  # fmt: skip
        moved = Path(kept["path"]) != Path(path).absolute()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the checkpoint's list of images is invalid: {error!r}") from None
    if train.swapped:
        raise UserError(
            f"A and B of {path} are swapped: images of A are those that {folder} was trained on as "
            "B; swap them back, or choose another train.run", option="data.path", path=path,
        )  # fmt: skip
    if not train.common and (moved or not train.names):
        raise UserError(
            f"{folder} was trained on {kept['path']}, and {path} has no image in common with it; "
            f"choose another train.run (--train.init {folder} starts from its weights)",
            option="data.path", path=path,
        )  # fmt: skip
    lines = []
    if train.text:
        lines.append(f"the training images changed since the checkpoint: {train.text}")
        lines[0] += _restarting(state)
    if held_out is not None and held_out.text:
        lines.append(f"the held-out images changed since the checkpoint: {held_out.text}")
    return News(lines, bool(train.text) and state["batch"] > 0)


def _restarting(state: State) -> str:
    """A clause on the epoch in whose middle a checkpoint was written."""
    return f"; restarting epoch {state['epoch']}" if state["batch"] else ""


def _compare_names(state: State, config: RunConfig, data: Datasets, folder: Path | str) -> News:
    """The same for a checkpoint of an earlier version, which has only a hash of all names."""
    before, path = state["sections"]["data"]["path"], config.data.path
    if state["data"] == data.train.names_hash():
        text = "the checkpoint has no digests of the images: only their names were compared"
        return News([text], restart=False)
    if Path(before).absolute() != Path(path).absolute():
        raise UserError(
            f"{folder} was trained on {before}, whose images have other names than those of "
            f"{path}; choose another train.run", option="data.path", path=path,
        )  # fmt: skip
    text = "the training images have other names than at the checkpoint, which has no digests"
    return News([text + _restarting(state)], state["batch"] > 0)


def _learnt(domain: dict[str, Any]) -> dict[str, Any]:
    """What a domain's values mean; not the words that its range was given in, nor metadata."""
    config = {k: v for k, v in domain["config"].items() if k not in ("range", "percentiles")}
    return {**domain, "config": config, "icc": "", "metadata": ""}


def going_on(
    before: Sections, config: RunConfig, place: Place, file: str, rate: float
) -> list[str]:
    """What a run says that goes on from a `file`: where it stands, and what is not as before."""
    told = [
        f"resuming from {file}: epoch {place.epoch}, batch {place.batch + 1}, {place.images} "
        "images processed"
    ]
    told += [f"{option} no longer exists and is ignored" for option in removed(before)]
    before = without_removed(before)
    known = dict(flat(before))  # not the options that the earlier version did not have
    told += [
        f"changed since the checkpoint: {change}"
        for change in changes(before, config.sections)
        if change.split()[0] in known
    ]
    planned = ("epochs", "schedule", "decay", "lr")
    if any(before["train"][key] != config.sections["train"][key] for key in planned):
        told.append(
            f"the learning rate schedule changed: lr {rate:.4g} in epoch {place.epoch} of "
            f"{config.train.epochs}"
        )
    return told
