"""Read a run folder. Missing, damaged and invalid values are left out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .. import run_log
from ..config.compatibility import folder_of, renamed, sample_columns
from ..errors import UserError

Numbers = dict[str, float | None]  # None: NaN or infinite
Curve = list[tuple[float, float | None]]  # (images processed, value); None: a gap
IMAGE_NAME = re.compile(r"\d{1,15}")  # images processed


class LossEntry(NamedTuple):
    """A log entry of training: means since the previous entry."""

    images: int
    epoch: int
    lr: float | None
    images_per_s: float | None
    losses: Numbers
    gradients: Numbers

    @classmethod
    def from_entry(cls, entry: run_log.Entry) -> LossEntry:
        """Return the contents of an entry."""
        return cls(
            integer(entry["images"]),
            integer(entry.get("epoch")),
            number_or_none(entry.get("lr")),
            number_or_none(entry.get("images_per_s")),
            numbers(run_log.group(entry, "loss")),
            numbers(run_log.group(entry, "grad_norm")),
        )


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
    """Contents of a run folder. Reading never fails."""

    def __init__(self, path: Path):
        self.path, self.name = path, path.absolute().name
        config = table(_json(_text(path / "config.json")))
        self.settings = {k: table(v) for k, v in renamed(config).items() if k != "data_location"}
        self.machine = table(_json(_text(path / "machine.json")))
        columns = self.machine.pop("sample_columns", None)
        ranges = table(self.machine.pop("value_ranges", None))
        # Range of the values of each target domain, as evaluate stores it.
        self.value_ranges = {side: table(one) for side, one in ranges.items() if table(one)}
        known = isinstance(columns, list)
        self.columns = [*map(str, columns)] if known else sample_columns(self.settings)
        self.samples = _images(path / "samples")
        self.patch_maps = _images(folder_of(path, "patch_maps"))
        log = path / run_log.NAME
        self.logged_at = log.stat().st_mtime if log.is_file() else None
        entries = _log(log)
        of_kind = {kind: [e for e in entries if e["kind"] == kind] for kind in run_log.KINDS}
        self.losses = [LossEntry.from_entry(entry) for entry in of_kind["train"]]
        self.validations = [ValidationEntry.from_entry(entry) for entry in of_kind["validation"]]
        self.health = [HealthEntry.from_entry(entry) for entry in of_kind["diagnostic"]]
        last = [integer(entry["images"]) for entry in entries[-1:]]
        self.images = max([*last, *self.samples], default=0)
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
        last = self.losses[-1].images if self.losses else 0
        sampled = not self.samples or last in self.samples  # a finished run has a last sample grid
        return 0 < self.total_images <= last and sampled

    def active_problems(self) -> list[HealthEntry]:
        """Return the problems that are not resolved, in the order in which they began."""
        latest = {(one.name, one.of): one for one in self.health}
        active = (one for one in latest.values() if one.state != "resolved")
        return sorted(active, key=lambda one: one.since)

    def loss(self, name: str) -> Curve:
        """Return the curve of a loss."""
        return [(entry.images, entry.losses.get(name)) for entry in self.losses]

    def gradient(self, group: str) -> Curve:
        """Return the curve of the gradient norm of a network group."""
        return [(entry.images, entry.gradients.get(group)) for entry in self.losses]

    def speed(self) -> Curve:
        """Return the curve of the images processed per second."""
        return [(entry.images, entry.images_per_s) for entry in self.losses]

    def metric(self, name: str) -> Curve:
        """Return the curve of a validation metric."""
        return [(entry.images, entry.raw.get(name)) for entry in self.validations]

    def ema_metric(self, name: str) -> Curve:
        """Return the curve of a validation metric of the EMA weights."""
        return [(entry.images, entry.ema.get(name)) for entry in self.validations]


def refuse_other_folder(path: Path) -> None:
    """Raise UserError if a folder is not a run folder."""
    if not any((path / name).is_file() for name in ("config.json", run_log.NAME)):
        problem = "is not a run folder" if path.exists() else "does not exist"
        text = f"{path} {problem}; name a folder that contains config.json and log.jsonl"
        raise UserError(text, path=path)


def _log(path: Path) -> list[run_log.Entry]:
    try:
        return run_log.read(path) if path.is_file() else []
    except OSError:
        return []


def table(value: Any) -> dict[str, Any]:
    """Return a table, or an empty one if the value is not a table."""
    return value if isinstance(value, dict) else {}


def number_or_none(value: Any) -> float | None:
    """Return a finite number, or None if the value is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


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
