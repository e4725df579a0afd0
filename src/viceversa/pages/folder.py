"""What lies in a run's folder, as far as it can be read: what is missing or cut off is left out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError

Numbers = dict[str, float | None]  # None: not finite
Point = tuple[float, float | None]  # images seen, value
PICTURE = re.compile(r"\d{1,15}")  # the name of a sheet: the images seen


class Line(NamedTuple):
    """A line of the log about training: means since the line before."""

    images: int
    epoch: int
    lr: float | None
    images_per_s: float | None
    losses: Numbers
    gradients: Numbers


class Best(NamedTuple):
    """The best value so far of the metric that chooses."""

    value: float
    images: int
    weights: str


class Validation(NamedTuple):
    """What was measured at a moment: of the weights as they were, and of their average."""

    images: int
    split: str
    n: int
    raw: Numbers
    averaged: Numbers
    chosen_by: str
    best: Best | None


class Found(NamedTuple):
    """Something that went wrong in training, or is over."""

    images: int
    name: str
    over: bool
    since: int
    saw: str
    advice: str
    of: str = ""
    """Which way, discriminator or player."""


@dataclass
class Folder:
    """A run's folder. `written`: when the log's last line was, in seconds since 1970."""

    path: Path
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)
    findings: list[Found] = field(default_factory=list)
    sheets: dict[int, Path] = field(default_factory=dict)
    verdicts: dict[int, Path] = field(default_factory=dict)
    written: float | None = None

    @property
    def name(self) -> str:
        return self.path.absolute().name

    @property
    def method(self) -> str:
        return word(self.settings.get("method", {}).get("name"))

    @property
    def images(self) -> int:
        """Images seen, as far as anything in the folder tells."""
        ends = [seen[-1].images for seen in (self.lines, self.validations, self.findings) if seen]
        return max([*ends, *self.sheets], default=0)


def refuse_other_folder(path: Path) -> None:
    """Raises UserError where a folder is not one that a run left."""
    if path.is_dir() and any((path / name).is_file() for name in ("config.json", "log.jsonl")):
        return
    missing = "there is no folder" if not path.exists() else "this is not the folder of a run:"
    raise UserError(f"{missing} {path}; name one that holds config.json and log.jsonl")


def read_folder(path: Path) -> Folder:
    """All of a run's folder; never raises for what lies in it."""
    found = Folder(path)
    sections = table(_json(_text(path / "config.json")))
    found.settings = {name: table(values) for name, values in sections.items()
                      if name != "data_location"}  # fmt: skip
    found.machine = table(_json(_text(path / "machine.json")))
    found.sheets, found.verdicts = (_pictures(path / name) for name in ("samples", "verdicts"))
    try:
        found.written = (path / "log.jsonl").stat().st_mtime
    except OSError:
        return found
    for line in _text(path / "log.jsonl").splitlines():
        _take(found, table(_json(line)))
    return found


def _take(found: Folder, line: dict[str, Any]) -> None:
    """Add a line of the log; what lies after it is of a run that went on from before."""
    seen = number(line.get("images"))
    if seen is None or seen < 0:
        return
    images = int(seen)
    # Of losses and validations there is one at a moment, of findings there may be several.
    ends = (found.lines, "losses" in line), (found.validations, "validation" in line)
    for kept, again in (*ends, (found.findings, False)):
        while kept and (kept[-1].images > images or (again and kept[-1].images == images)):
            kept.pop()
    if "validation" in line:
        found.validations.append(_validation(images, table(line["validation"])))
    elif "health" in line:
        said = table(line["health"])
        found.findings.append(Found(
            images, word(said.get("name")), said.get("state") == "over",
            int(number(said.get("since")) or 0), word(said.get("saw")), word(said.get("advice")),
            word(said.get("of")),
        ))  # fmt: skip
    elif "losses" in line:
        found.lines.append(Line(
            images, int(number(line.get("epoch")) or 0), number(line.get("lr")),
            number(line.get("images_per_s")), numbers(line["losses"]),
            numbers(line.get("gradients")),
        ))  # fmt: skip


def _validation(images: int, said: dict[str, Any]) -> Validation:
    best = table(said.get("best"))
    value, at = number(best.get("value")), number(best.get("images"))
    known = value is not None and at is not None
    return Validation(
        images, word(said.get("split")), int(number(said.get("n")) or 0), numbers(said.get("raw")),
        numbers(said.get("averaged")), word(said.get("chosen_by")),
        Best(value, int(at), word(best.get("weights"))) if known else None,  # type: ignore[arg-type]
    )  # fmt: skip


def standing(found: Folder) -> list[Found]:
    """The warnings that are not over, in the order in which they began."""
    last = {(one.name, one.of): one for one in found.findings}
    return sorted((one for one in last.values() if not one.over), key=lambda one: one.since)


def past(found: Folder) -> list[Found]:
    """The warnings that were over at some time."""
    return [one for one in found.findings if one.over]


def epochs(found: Folder) -> int | None:
    """How many epochs the run is to have."""
    said = number(found.settings.get("train", {}).get("epochs"))
    return None if said is None else int(said)


def total_images(found: Folder) -> tuple[int, bool] | None:
    """(images in the whole run, whether that is certain); None where nothing tells.

    machine.json may say; else the log's epochs do: of images `p` an epoch, those of epoch `e` end
    at `e p`.
    """
    said = number(found.machine.get("total_images"))
    if said is not None and said >= 1:
        return int(said), True
    planned = epochs(found)
    steps = [(line.images, line.epoch) for line in found.lines if line.epoch > 0 < line.images]
    if not steps or not planned:
        return None
    least = max(-(-images // epoch) for images, epoch in steps)
    most = min((-(-n // (e - 1)) - 1 for n, e in steps if e > 1), default=None)
    return None if most is None else (least * planned, least >= most)


def finished(found: Folder) -> bool:
    """Whether the run has come to its end, or had no better validation for as long as was asked.

    The sheet that is drawn at the end tells, too.
    """
    patience = number(table(found.settings.get("validate")).get("patience"))
    best = found.validations[-1].best if found.validations else None
    if patience and best is not None:
        since = [one for one in found.validations if one.images > best.images]
        if len(since) >= patience:
            return True
    total = total_images(found)
    if total is None or not found.lines:
        return False
    last = found.lines[-1]
    drawn = not found.sheets or last.images in found.sheets
    return last.images >= total[0] and last.epoch == (epochs(found) or last.epoch) and drawn


def table(value: Any) -> dict[str, Any]:
    """A table, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """A finite number, or None in place of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def numbers(value: Any) -> Numbers:
    """A table of numbers; what is not finite is None, what is no number at all is left out."""
    return {
        key: number(one)
        for key, one in table(value).items()
        if one is None or (isinstance(one, int | float) and not isinstance(one, bool))
    }


def word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def points(rows: Mapping[int, Numbers], name: str) -> list[Point]:
    """One number's way through training; a moment without it is a gap."""
    return [(images, values.get(name)) for images, values in rows.items()]


def names(rows: Mapping[int, Numbers]) -> list[str]:
    """Every name in some rows of numbers, in the order in which they turn up."""
    return list(dict.fromkeys(name for values in rows.values() for name in values))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace") if path.is_file() else ""
    except OSError:
        return ""


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # cut off, or not written by us
        return None


def _pictures(folder: Path) -> dict[int, Path]:
    return dict(sorted(_named_by_images(folder)))


def _named_by_images(folder: Path) -> Iterator[tuple[int, Path]]:
    try:
        for path in folder.iterdir():
            if path.suffix == ".png" and PICTURE.fullmatch(path.stem) and path.is_file():
                yield int(path.stem), path
    except OSError:
        return
