"""Read a run folder. Missing, damaged and invalid values are left out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import run_log
from ..config.compatibility import folder_of, renamed, sample_columns
from ..errors import UserError
from .log_columns import Column, LogColumns, number_or_none

Numbers = dict[str, float | None]  # None: NaN or infinite
Curve = Column
"""(n, 2): images processed, and a value; NaN: a gap."""
IMAGE_NAME = re.compile(r"\d{1,15}")  # images processed
RECENT = 100  # training lines from which the remaining time is estimated


class BestEntry(NamedTuple):
    """The best value so far of the metric that selects the best model; None: no value yet."""

    value: float | None
    images: int
    weights: str


class ValidationEntry(NamedTuple):
    """A log entry of a validation: metrics of the raw and of the EMA weights."""

    images: int
    split: str
    n: int
    raw: Numbers
    ema: Numbers
    chosen_by: str
    best: BestEntry

    @classmethod
    def from_entry(cls, entry: run_log.Entry) -> ValidationEntry:
        """Return the contents of an entry."""
        best = run_log.group(entry, "best")
        return cls(
            integer(entry["images"]),
            text_or_empty(entry.get("split")),
            integer(entry.get("n")),
            numbers(run_log.group(entry, "val")),
            numbers(run_log.group(entry, "val_ema")),
            text_or_empty(best.get("metric")),
            BestEntry(
                number_or_none(best.get("value")),
                integer(best.get("images")),
                text_or_empty(best.get("weights")),
            ),
        )


class HealthEntry(NamedTuple):
    """A log entry of a problem that began or is resolved; `of`: such as a direction."""

    images: int
    name: str
    state: str
    since: int
    text: str
    advice: str
    of: str

    @classmethod
    def from_entry(cls, entry: run_log.Entry) -> HealthEntry:
        """Return the contents of an entry."""
        values = run_log.group(entry, "diagnostic")
        name, state, text, advice, of = (
            text_or_empty(values.get(key)) for key in ("name", "state", "text", "advice", "of")
        )
        since = integer(values.get("since"))
        return cls(integer(entry["images"]), name, state, since, text, advice, of)


class RunFolder:
    """Contents of a run folder. Reading never fails.

    Args:
        path: The folder.
        log: Its log as read before; only the lines appended since then are read.
    """

    def __init__(self, path: Path, log: LogColumns | None = None):
        self.path, self.name = path, path.absolute().name
        config = table(_json(_text(path / "config.json")))
        self.settings = {k: table(v) for k, v in renamed(config).items() if k != "data_location"}
        self.machine = table(_json(_text(path / "machine.json")))
        self.counts = table(self.machine.pop("images", None))
        columns = self.machine.pop("sample_columns", None)
        ranges = table(self.machine.pop("value_ranges", None))
        # Range of the values of each target domain, as evaluate stores it.
        self.value_ranges = {side: table(one) for side, one in ranges.items() if table(one)}
        known = isinstance(columns, list)
        self.columns = [*map(str, columns)] if known else sample_columns(self.settings)
        self.samples = _images(path / "samples")
        self.patch_maps = _images(folder_of(path, "patch_maps"))
        log_path = path / run_log.NAME
        self.logged_at = log_path.stat().st_mtime if log_path.is_file() else None
        self.log = LogColumns(log_path) if log is None else log
        self.log.refresh()
        others = self.log.others
        self.validations = [
            ValidationEntry.from_entry(one) for one in others if one["kind"] == "validation"
        ]
        self.health = [HealthEntry.from_entry(one) for one in others if one["kind"] == "diagnostic"]
        self.trained = int(self.log.last("images"))  # images of the last line
        last = [integer(one["images"]) for one in others[-1:]]
        self.images = max([self.trained, *last, *self.samples], default=0)
        self.total_images = integer(self.machine.get("total_images"))  # 0: unknown

    @property
    def best(self) -> ValidationEntry | None:
        """The latest validation that records a best value."""
        return next((v for v in reversed(self.validations) if v.best.value is not None), None)

    @property
    def finished(self) -> bool:
        """Whether the last image is processed, or early stopping ended the run."""
        patience = integer(table(self.settings.get("validate")).get("patience"))
        last_best = self.best.best.images if self.best else math.inf
        if 0 < patience <= sum(one.images > last_best for one in self.validations):
            return True
        # A finished run has a last sample grid.
        sampled = not self.samples or self.trained in self.samples
        return 0 < self.total_images <= self.trained and sampled

    def active_problems(self) -> list[HealthEntry]:
        """Return the problems that are not resolved, in the order in which they began."""
        latest = {(one.name, one.of): one for one in self.health}
        active = (one for one in latest.values() if one.state != "resolved")
        return sorted(active, key=lambda one: one.since)

    def loss_names(self) -> list[str]:
        """Return the names of the losses."""
        return self.log.names("loss")

    def groups(self) -> list[str]:
        """Return the network groups, each of which has an optimizer."""
        return self.log.names("grad_norm")

    def training(self, name: str) -> Curve:
        """Return the curve of a value of the training lines, such as `loss.g_l1` or `lr`."""
        return np.column_stack([self.log.column("images"), self.log.column(name)])

    def seconds(self) -> Column:
        """Return the training time at each training line, without pauses before a resume."""
        images, time, speed = map(self.log.column, ("images", "time", "images_per_s"))
        expected = np.diff(images, prepend=0) / np.where(speed > 0, speed, np.nan)
        clock = np.diff(time, prepend=np.nan)
        continuous = (clock >= 0) & (clock <= 2 * expected + 1)
        return np.nancumsum(np.where(continuous, clock, expected))

    def remaining(self) -> float | None:
        """Estimate the remaining seconds from the latest lines; None if they are unknown."""
        images, seconds = self.log.column("images"), self.seconds()
        if len(images) < 2 or self.finished or not self.total_images:
            return None
        first = max(-len(images), -RECENT)
        per_image = (seconds[-1] - seconds[first]) / (images[-1] - images[first])
        return float(per_image * max(0, self.total_images - images[-1]))

    def generators(self, folder: str) -> list[str]:
        """Return the paths of the generators in a folder of the run, relative to the run."""
        paths = (self.path / folder / f"{direction}.safetensors" for direction in ("ab", "ba"))
        return [path.relative_to(self.path).as_posix() for path in paths if path.is_file()]

    def metric(self, name: str) -> Curve:
        """Return the curve of a validation metric."""
        return _curve((one.images, one.raw.get(name)) for one in self.validations)

    def ema_metric(self, name: str) -> Curve:
        """Return the curve of a validation metric of the EMA weights."""
        return _curve((one.images, one.ema.get(name)) for one in self.validations)


def _curve(points: Iterable[tuple[float, float | None]]) -> Curve:
    return np.array(list(points), float).reshape(-1, 2)


def refuse_other_folder(path: Path) -> None:
    """Raise UserError if a folder is not a run folder."""
    if not any((path / name).is_file() for name in ("config.json", run_log.NAME)):
        problem = "is not a run folder" if path.exists() else "does not exist"
        text = f"{path} {problem}; name a folder that contains config.json and log.jsonl"
        raise UserError(text, path=path)


def table(value: Any) -> dict[str, Any]:
    """Return a table, or an empty one if the value is not a table."""
    return value if isinstance(value, dict) else {}


def text_or_empty(value: Any) -> str:
    """Return a text, or "" if the value is not one."""
    return value if isinstance(value, str) else ""


def integer(value: Any) -> int:
    """Return a finite number as an integer, or 0 if the value is not one."""
    return int(number_or_none(value) or 0)


def numbers(value: Any) -> Numbers:
    """Return a table of numbers; values that are not finite numbers become None."""
    return {key: number_or_none(one) for key, one in table(value).items()}


def names(rows: Iterable[Numbers]) -> list[str]:
    """Return the names of all values, in the order in which they first occur."""
    return list(dict.fromkeys(name for values in rows for name in values))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace") if path.is_file() else ""
    except OSError:
        return ""


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # truncated, or not JSON
        return None


def _images(folder: Path) -> dict[int, Path]:
    """Return the PNG files of a folder that are named by images processed, in that order."""
    paths = [path for path in folder.glob("*.png") if IMAGE_NAME.fullmatch(path.stem)]
    return {int(path.stem): path for path in sorted(paths, key=lambda path: int(path.stem))}
