"""Checks of a checkpoint before a run resumes from it, and messages about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..checkpoint import age
from ..config.compatibility import current_state, removed, rename_folders, without_removed
from ..config.recipes import SECTIONS, Sections, changes, flat
from ..config.run import RunConfig, completed
from ..data import contents
from ..data.contents import Contents
from ..data.open import Datasets
from ..data.user import ItemCounts
from ..errors import UserError
from ..fields import fill, nested, plain
from ..images.domain import Domain
from ..terminal import say
from .checkpoint import State, restore
from .progress import Progress
from .setup import set_learning_rates, steps_taken

if TYPE_CHECKING:
    from .run import Run

TABLES = ("sections", "domains", "method", "optimizers", "random", "log", "runtime", "monitor")
COUNTS = "epoch", "batch", "images"
FIELDS = frozenset({*TABLES, *COUNTS, "data", "others"})


class DataChanges(NamedTuple):
    """Changes of the data since a checkpoint."""

    lines: list[str]
    restart_epoch: bool
    """Whether the epoch must restart: it had begun, and its images changed."""


def resume(run: Run) -> State | None:
    """Restore the newest valid checkpoint of a run.

    Returns:
        The state of the log in it; None if there is no checkpoint.

    Raises:
        UserError: The checkpoint cannot be read, or is of another run.
    """
    ranks, config = run.runtime.ranks, run.config
    with ranks.first_rank_first():
        if ranks.first:
            rename_folders(run.folder)
            run.checkpoints.clean()
    # The other processes may be on machines that cannot read the file.
    newest = run.checkpoints.latest(say) if ranks.first else None
    found: Any = ranks.broadcast(newest and [newest[0], str(newest[1]), age(newest[1])])
    if found is None:
        run.choose_formats()
        return None
    state, path, written = current_state(found[0]), Path(found[1]), found[2]
    changed = check_resumable(state, config, run.data, path)
    run.choose_formats(state["runtime"].get("format"))
    run.progress = restore(state, run.method, run.optimizers, run.runtime)
    run.monitor.restore(state["monitor"], run.progress)
    run.gradients.restore(run.monitor.norms)
    run.requests.saved = run.progress.images
    if changed.restart_epoch:
        run.progress = Progress(run.progress.epoch, 0, run.progress.images)
    lr = set_learning_rates(run.optimizers, config.train, run.progress.epoch)
    checkpoint = f"{path}, written {written}"
    lines = resume_report(state["sections"], config, run.progress, checkpoint, lr)
    for line in lines + changed.lines:
        run.say(line)
    # Checkpoints of earlier versions have no number of steps: Adam has counted them.
    log: State = {"step": steps_taken(run.optimizers), "epoch": run.progress.last_epoch, "lr": lr}
    return {**log, **state["log"]}


def check_resumable(state: State, config: RunConfig, data: Datasets, path: Path) -> DataChanges:
    """Check that a run can resume from a checkpoint.

    Args:
        state: The state in the checkpoint.
        config: The settings of the run.
        data: The datasets of the run.
        path: The checkpoint.

    Raises:
        UserError: The checkpoint is of another method, architecture, dataset or value range.
    """
    run = config.train.run or path.parent.parent
    _check_fields(state, path)
    stored = completed(state["sections"])
    for section in ("method", "generator", "discriminator"):
        now = config.sections[section]
        if different := changes({section: stored[section]}, {section: now}):
            raise UserError(
                f"{run} contains a run with another {section} ({', '.join(different[:5])}); choose "
                f"another train.run, or use the settings of that run: viceversa train "
                f"{run}/config.json",
                option="train.run",
                path=path,
            )
    direction = state["sections"]["data"]["direction"]
    if direction != config.data.direction:
        raise UserError(
            f"{run} contains a run with data.direction {direction}; choose another train.run",
            option="data.direction",
            path=path,
        )
    data_changes = compare_data(state, config, data, run)
    for name, domain in data.train.domains.items():
        before = fill(Domain, state["domains"][name], str(path))  # as this version would write it
        if _value_range(before) != _value_range(domain):
            raise UserError(
                f"{run} was trained with another value range or kind of domain {name.upper()} "
                f"(config.json and the model files contain it); set data.{name}.range to it to "
                "resume",
                option=f"data.{name}.range",
                path=path,
            )
    reached = state["epoch"] if state["batch"] else state["epoch"] - 1
    if config.train.epochs < reached:
        raise UserError(
            f"{run} has reached epoch {reached}, and train.epochs is {config.train.epochs}; set "
            f"train.epochs to {reached} or more, or choose another train.run",
            option="train.epochs",
            path=path,
        )
    batch_size = state["sections"]["train"]["batch_size"]
    if state["batch"] and batch_size != config.train.batch_size:
        raise UserError(
            f"{run} was saved in the middle of an epoch with train.batch_size {batch_size}; "
            "resume it with the same train.batch_size",
            option="train.batch_size",
            path=path,
        )
    return data_changes


def _check_fields(state: State, path: Path) -> None:
    """Raise UserError if a checkpoint lacks fields, or has values of other types."""
    if missing := sorted(FIELDS - state.keys()):
        raise UserError(f"{path} has no {', '.join(missing)}: it is of another version", path=path)
    if not (
        all(isinstance(state[name], dict) for name in TABLES)
        and isinstance(state["others"], list)
        and all(type(state[name]) is int and state[name] >= 0 for name in COUNTS)
        and all(isinstance(state["sections"].get(name), dict) for name in SECTIONS)
    ):
        raise UserError(f"{path} is not a checkpoint of a run", path=path)


def compare_data(state: State, config: RunConfig, data: Datasets, run: Path | str) -> DataChanges:
    """Compare the images with those that a checkpoint lists.

    Raises:
        UserError: A and B are swapped, or the images are those of another dataset.
    """
    listed, path = state.get("contents"), config.data.path
    if listed is None:
        return _compare_names(state, config, data, run)
    now = data.train.contents
    counts = nested(listed, "train").get("items")
    if (counts is not None) != isinstance(now, ItemCounts):
        raise UserError(
            f"{run} was trained on {listed['path']}, not on {config.data.location}; choose another "
            "train.run",
            option="data.path",
        )
    if isinstance(now, ItemCounts):
        return _compare_counts(state, counts, now)
    try:
        train = _compare_contents(listed["train"], now)
        held_out = None
        if listed["held_out"] and data.held_out is not None:
            held_out = _compare_contents(listed["held_out"], data.held_out.contents)
        moved = Path(listed["path"]) != Path(path).absolute()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the checkpoint's list of images is invalid: {error!r}") from None
    if train.swapped:
        raise UserError(
            f"A and B of {path} are swapped: {run} was trained on the images of A as B; swap them "
            "back, or choose another train.run",
            option="data.path",
            path=path,
        )
    if not train.common and (moved or not train.names):
        raise UserError(
            f"{run} was trained on {listed['path']}, and {path} has no image in common with it; "
            f"choose another train.run (--train.init {run} starts from its weights)",
            option="data.path",
            path=path,
        )
    lines = []
    if train.text:
        restart = _restart(state)
        lines.append(f"the training images changed since the checkpoint: {train.text}{restart}")
    if held_out is not None and held_out.text:
        lines.append(f"the held-out images changed since the checkpoint: {held_out.text}")
    return DataChanges(lines, bool(train.text) and state["batch"] > 0)


def _compare_contents(listed: State, now: Contents | ItemCounts) -> contents.Changes:
    """Compare the files of a split with those in a checkpoint. Raises errors as `of_state`."""
    assert isinstance(now, Contents)
    return contents.compare(Contents.of_state(listed), now)


def _compare_counts(state: State, before: object, now: ItemCounts) -> DataChanges:
    """Compare the number of items of a user's dataset, whose contents are not known."""
    if before == list(now):
        line = "the dataset has as many items as before; their contents were not compared"
        return DataChanges([line], restart_epoch=False)
    line = f"the number of items of A and B changed since the checkpoint: {before} to {list(now)}"
    return DataChanges([line + _restart(state)], restart_epoch=state["batch"] > 0)


def _compare_names(state: State, config: RunConfig, data: Datasets, run: Path | str) -> DataChanges:
    """Compare the images with a checkpoint of an earlier version: it has a hash of all names."""
    before, path = state["sections"]["data"]["path"], config.data.path
    if state["data"] == data.train.names_hash():
        line = "the checkpoint has no digests of the images: only their names were compared"
        return DataChanges([line], restart_epoch=False)
    if Path(before).absolute() != Path(path).absolute():
        raise UserError(
            f"{run} was trained on {before}, whose images have other names than those of {path}; "
            "choose another train.run",
            option="data.path",
            path=path,
        )
    line = "the names of the training images changed since the checkpoint, which has no digests"
    return DataChanges([line + _restart(state)], restart_epoch=state["batch"] > 0)


def _restart(state: State) -> str:
    """Return a clause on the epoch in which a checkpoint was written."""
    return f"; restarting epoch {state['epoch']}" if state["batch"] else ""


def _value_range(domain: Domain) -> dict[str, Any]:
    """Return the settings of a domain that define its values, without metadata, class names and the
    option of the range."""
    described = plain(domain)
    options = {
        name: value
        for name, value in described["config"].items()
        if name not in ("range", "percentiles", "class_names")
    }
    return {**described, "config": options, "icc": "", "metadata": "", "mixed_nodata": False}


def resume_report(
    before: Sections, config: RunConfig, progress: Progress, checkpoint: str, lr: float
) -> list[str]:
    """Return the lines that a resumed run prints: its progress, and which settings changed."""
    if progress.epoch > config.train.epochs:
        lines = [
            f"training is complete in {checkpoint}: {config.train.epochs} epochs, "
            f"{progress.images} images processed; a higher train.epochs continues it"
        ]
    else:
        lines = [
            f"resuming from {checkpoint}: epoch {progress.epoch}, batch {progress.batch + 1}, "
            f"{progress.images} images processed"
        ]
    lines += [f"{option} no longer exists and is ignored" for option in removed(before)]
    before = without_removed(before)
    known = dict(flat(before))  # without the options that the earlier version did not have
    lines += [
        f"changed since the checkpoint: {change}"
        for change in changes(before, config.sections)
        if change.split()[0] in known
    ]
    planned = ("epochs", "schedule", "decay", "lr")
    if any(before["train"][key] != config.sections["train"][key] for key in planned):
        lines.append(
            f"the learning rate schedule changed: lr {lr:.4g} in epoch {progress.epoch} of "
            f"{config.train.epochs}"
        )
    return lines
