"""The folder of a study: its runs, the manifests of its folds, and the settings of each run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from ..config.extensions import named
from ..config.recipes import Sections, changes, merge
from ..config.run import completed, resolve
from ..config.study import StudyConfig
from ..data.readonly import refuse_output_in_data
from ..errors import UserError
from ..fields import plain
from ..files import write_json
from .folds import cross_validation, given_split, manifest_text, write_manifest
from .groups import Item, read_items

FORMAT = 1
STUDY_FILE = "study.json"  # of a study; in a run folder: written when the run is finished
FIXED = ("folds", "groups", "val", "fold_seed", "evaluate")  # options that all runs depend on
FORMER = {"evaluate": {"flips": False}}  # options that studies of earlier versions do not name
# Settings of a run that may change between two commands: no result depends on them.
FREE = (
    "data.path",
    "data.workers",
    "data.cache",
    "data.cache_megabytes",
    "train.run",
    "train.device",
    "train.max_time",
    "train.keep_last",
    "train.loggers",
    "train.save_every",
    "train.save_epochs",
    "train.save_minutes",
)


class StudyRun(NamedTuple):
    """One run of a study; fold 0: the split of the dataset itself."""

    variant: str
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """Return the path of the run below `runs/`."""
        fold = f"fold-{self.fold}/" if self.fold else ""
        return f"{self.variant}/{fold}seed-{self.seed}"

    @property
    def manifest(self) -> str:
        """Return the name of the manifest of its fold."""
        return f"fold-{self.fold}.csv" if self.fold else "split.csv"


@dataclass(frozen=True)
class StudyFolder:
    """A study whose folds and settings are written."""

    root: Path
    runs: tuple[StudyRun, ...]
    paired: bool
    """Whether the folds list pairs."""

    def folder(self, run: StudyRun) -> Path:
        """Return the run folder."""
        return self.root / "runs" / run.name

    def config(self, run: StudyRun) -> Path:
        """Return the recipe that trains the run."""
        return self.root / "configs" / f"{run.name}.json"

    def manifest(self, run: StudyRun) -> Path:
        """Return the manifest of the run's fold."""
        return self.root / "folds" / run.manifest

    def log(self, run: StudyRun) -> Path:
        """Return the file with the messages of the run."""
        return self.root / "logs" / f"{run.name}.txt"

    def marker(self, run: StudyRun) -> Path:
        """Return the file that is written when the run is trained and evaluated."""
        return self.folder(run) / STUDY_FILE

    def state(self, run: StudyRun) -> str:
        """Return `finished`, `begun` or `not begun`."""
        if self.marker(run).is_file():
            return "finished"
        return "begun" if (self.folder(run) / "config.json").is_file() else "not begun"


def is_study(path: Path) -> bool:
    """Return whether a path is the folder of a study."""
    return (path / STUDY_FILE).is_file() and (path / "folds").is_dir()


def open_study(root: Path) -> StudyFolder:
    """Open the folder of a study. Raises UserError if it is none."""
    table = _read(root / STUDY_FILE) if is_study(root) else None
    if table is None:
        raise UserError(f"{root} is not the folder of a study", path=root)
    return StudyFolder(root, tuple(StudyRun(*run) for run in table["runs"]), table["paired"])


def prepare(
    config: StudyConfig, root: Path, note: Callable[[str], None], write: bool = True
) -> StudyFolder:
    """Cut the folds, and write the manifests and the settings of all runs.

    Args:
        config: The settings of the study.
        root: The folder of the study.
        note: Called with a sentence on images that are not used.
        write: Whether to write files; else only the checks are made.

    Raises:
        UserError: The data or an option is invalid, or the study in the folder has other settings.
    """
    options, first = config.options, next(iter(config.variants.values()))
    _check_data(config, root)
    paired = options.evaluate.pairs == "yes" or any(one.paired for one in config.variants.values())
    items = read_items(first.data, paired, options.groups, note)
    if options.folds:
        folds = cross_validation(items, options.folds, options.val, options.fold_seed)
    else:
        folds = [given_split(items, options.val, options.fold_seed)]
    study = StudyFolder(root, tuple(_runs(config)), paired)
    same = all(item.a == item.b for item in items)
    layout = "photos" if first.data.layout == "photos" else "side-by-side" if same else "auto"
    sections = {run: _sections(config, study, run, layout) for run in study.runs}
    table = {
        "format": FORMAT,
        "options": {name: plain(options)[name] for name in FIXED},
        "paired": paired,
        "images": _digest(items, Path(first.data.path)),
        "runs": [list(run) for run in study.runs],
    }
    _refuse_changes(study, sections, json.loads(json.dumps(table)))
    if write:
        for number, splits in enumerate(folds, start=1):
            path = root / "folds" / (f"fold-{number}.csv" if options.folds else "split.csv")
            write_manifest(path, manifest_text(items, splits, path.parent))
        for run, settings in sections.items():
            write_json(study.config(run), settings | named())
        write_json(root / STUDY_FILE, table)
    return study


def _runs(config: StudyConfig) -> Iterator[StudyRun]:
    """Yield the runs; every variant of a fold and seed before the next."""
    options = config.options
    for number in range(options.seeds):
        for fold in range(1, options.folds + 1) if options.folds else (0,):
            for name, variant in config.variants.items():
                yield StudyRun(name, fold, variant.train.seed + number)


def _sections(config: StudyConfig, study: StudyFolder, run: StudyRun, layout: str) -> Sections:
    """Return the settings of a run. Raises UserError if they are inconsistent."""
    changed: dict[str, dict[str, Any]] = {
        "data": {
            "path": str(study.manifest(run)),
            "layout": layout,
            "a": {"masks": ""},  # in the manifest
            "b": {"masks": ""},
        },
        "train": {"run": str(study.folder(run)), "seed": run.seed},
    }
    if not config.options.val:  # images of test must not select the best model
        changed["validate"] = {"every": 0}
    return resolve(merge(config.variants[run.variant].sections, changed)).sections


def _check_data(config: StudyConfig, root: Path) -> None:
    """Raise UserError if variants differ in their images, or hold out images themselves."""
    configs = list(config.variants.values())
    if not configs[0].data.path:
        raise UserError(
            "there is no data folder to train on; add it after the recipe", option="data.path"
        )
    for name in ("path", "layout", "pattern_a", "pattern_b", "a.masks", "b.masks"):
        if len({attrgetter(name)(one.data) for one in configs}) > 1:
            raise UserError(
                f"the variants differ in data.{name}, and a study compares them on the same images",
                option=f"data.{name}",
            )
    if any(one.data.hold_out for one in configs):
        raise UserError(
            "a study cuts val itself, by group; set data.hold_out 0 and choose the fraction with "
            "--val",
            option="data.hold_out",
        )
    refuse_output_in_data(root, Path(configs[0].data.path), "--run")


def _digest(items: Sequence[Item], data: Path) -> str:
    """Return a hash of names, splits and groups that does not change if all data are moved."""
    home = data.absolute() if data.is_dir() else data.absolute().parent

    def name(path: Path | None) -> str:
        return "" if path is None else os.path.relpath(path.absolute(), home)

    rows = sorted(
        [name(one.a), name(one.b), one.group, one.split]
        + [name(mask) for mask in (one.mask_a, one.mask_b) if mask]
        for one in items
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _refuse_changes(
    study: StudyFolder, sections: Mapping[StudyRun, Sections], table: dict[str, Any]
) -> None:
    """Raise UserError if the study in the folder has other settings or images."""
    before = _read(study.root / STUDY_FILE)
    if before is None:
        if study.root.is_dir() and (study.root / "config.json").is_file():
            raise UserError(
                f"{study.root} is the folder of a run; choose another --run", option="--run"
            )
        return
    advice = "choose another --run for a new study"
    options = merge({"": FORMER}, {"": before["options"]})
    if different := changes(options, {"": table["options"]}):
        text = ", ".join(one.lstrip(".") for one in different)
        raise UserError(
            f"{study.root} is a study with other options: {text}; {advice}", path=study.root
        )
    if before["images"] != table["images"] or before["paired"] != table["paired"]:
        raise UserError(
            f"the images of the study {study.root} changed (names, splits, groups or pairs); "
            f"{advice}",
            option="data.path",
            path=study.root,
        )
    known = {StudyRun(*run) for run in before["runs"]}
    if lost := sorted(known - set(study.runs)):
        raise UserError(
            f"{study.root} has the run {lost[0].name}, which this command does not name; {advice}",
            path=study.root,
        )
    for run in filter(known.__contains__, study.runs):
        old = _read(study.config(run)) or {}
        old.pop("imports", None)
        lines = [one for one in changes(completed(old), sections[run]) if not one.startswith(FREE)]
        if old and lines:
            raise UserError(
                f"{study.root} has other settings for {run.variant}: {', '.join(lines[:5])}; "
                f"{advice}",
                option=lines[0].split()[0],
                path=study.config(run),
            )


def _read(path: Path) -> dict[str, Any] | None:
    """Read a JSON file of the study; None if there is none. Raises UserError if it is damaged."""
    try:
        table = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", path=path) from None
    if not isinstance(table, dict) or table.get("format", FORMAT) != FORMAT:
        raise UserError(f"{path} is not a file of this version of viceversa", path=path)
    return table
