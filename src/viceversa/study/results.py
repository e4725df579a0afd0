"""Read the evaluations of many runs, and refuse those that cannot be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config.recipes import flat
from ..errors import UserError
from ..fields import nested
from ..reports.text import scaled_range
from .folder import FREE, STUDY_FILE, is_study, open_study

# Parts of a protocol that differ between runs whose values can be compared.
OF_A_RUN = ("models", "data", "layout", "file_types", "hold_out", "viceversa", "torch")
Key = tuple[str, str]
"""Direction and metric."""


@dataclass
class RunResult:
    """The evaluation of one run."""

    folder: Path
    variant: str
    fold: str
    seed: int
    protocol: dict[str, Any]
    ranges: dict[str, Any]
    """Range and peak of the values, by direction."""
    images: dict[Key, dict[str, float]] = field(default_factory=dict)
    """A value per image."""
    sets: dict[Key, float] = field(default_factory=dict)
    """Metrics of sets of images."""
    groups: dict[str, str] = field(default_factory=dict)
    """The group of each image; itself if it is in none."""


def run_folders(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return run folders, those of studies included, and notes on runs that are not finished."""
    folders, notes = [], []
    for path in paths:
        if not is_study(path):
            folders.append(path)
            continue
        study = open_study(path)
        done = [run for run in study.runs if study.state(run) == "finished"]
        folders += [study.folder(run) for run in done]
        if missing := [run.name for run in study.runs if run not in done]:
            notes.append(
                f"{len(missing)} of {len(study.runs)} runs of {path} are not finished: "
                f"{', '.join(missing[:3])}{', ...' if missing[3:] else ''}"
            )
    if not folders:
        raise UserError(f"no run of {paths[0]} is finished", path=paths[0])
    return folders, notes


def read_results(folders: Sequence[Path]) -> tuple[list[RunResult], list[str]]:
    """Read the evaluations of runs, and name their variants.

    Returns:
        The evaluations, and notes on how they differ.

    Raises:
        UserError: A run has no evaluation, or protocols differ.
    """
    names = variants_of(folders)
    results = [_read(folder, name) for folder, name in zip(folders, names, strict=True)]
    return results, _refuse_differences(results) + _range_notes(results)


def has_evaluation(folder: Path) -> bool:
    """Return whether a run is evaluated."""
    return (folder / "evaluation" / "metrics.json").is_file()


def _read(folder: Path, variant: str) -> RunResult:
    path = folder / "evaluation" / "metrics.json"
    values = _json(path, f"{folder} is not evaluated: viceversa evaluate {folder}")
    marker = _marker(folder)
    config = _json(folder / "config.json") if (folder / "config.json").is_file() else {}
    try:
        # Evaluations without `flips` in the protocol were written before the option existed.
        protocol = {"flips": False, **values["protocol"]}
        directions = dict(values["directions"])
        result = RunResult(
            folder,
            variant,
            str(marker.get("fold", protocol["data"])),
            int(marker.get("seed", nested(config, "train").get("seed", 0))),
            protocol,
            {name: one.get("values") for name, one in directions.items()},
        )
        for direction, one in directions.items():
            for row in one["images"]:
                name = str(row.get("name", row["source"]))
                result.groups[name] = str(row.get("group") or name)
                for metric in one["means"]:
                    if row[metric] is not None:  # infinite: PSNR of two equal images
                        result.images.setdefault((direction, metric), {})[name] = row[metric]
            for metric, value in one["sets"].items():
                if value is not None:
                    result.sets[direction, metric] = value
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{path} is not a result of viceversa evaluate", path=path) from None
    return result


def _json(path: Path, missing: str = "") -> dict[str, Any]:
    try:
        table = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise UserError(missing or f"{path} is missing", path=path) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}", path=path) from None
    return table if isinstance(table, dict) else {}


def variants_of(folders: Sequence[Path]) -> list[str]:
    """Return the variant of each run: that of its study, else runs with the same settings.

    The seed, the data and settings on which no result depends do not count.
    """
    names: dict[Path, str] = {}
    same: dict[str, list[Path]] = {}
    for folder in folders:
        if variant := _marker(folder).get("variant"):
            names[folder] = str(variant)
            continue
        config = folder / "config.json"
        settings = dict(flat(_json(config))) if config.is_file() else {"": str(folder)}
        ignored = (*FREE, "train.seed", "data_location")
        kept = {key: value for key, value in settings.items() if not key.startswith(ignored)}
        same.setdefault(json.dumps(kept, sort_keys=True), []).append(folder)
    for members in same.values():
        called = [folder.absolute().name for folder in members]
        stems = {re.sub(r"[-_. ]*\d+$", "", name) for name in called}  # mine-0, mine-1: mine
        name = stems.pop() if called[1:] and len(stems) == 1 else called[0]
        if not name or name in names.values():
            name = str(members[0])
        names |= dict.fromkeys(members, name)
    return [names[folder] for folder in folders]


def _marker(folder: Path) -> dict[str, Any]:
    """Return what the study wrote when it finished the run; empty outside of studies."""
    return _json(folder / STUDY_FILE) if (folder / STUDY_FILE).is_file() else {}


def _refuse_differences(results: Sequence[RunResult]) -> list[str]:
    """Raise UserError if values of two runs cannot be compared; return notes."""
    first, notes = results[0], []
    for one in results[1:]:
        for key in sorted(first.protocol.keys() | one.protocol.keys()):
            before, now = first.protocol.get(key), one.protocol.get(key)
            if key not in OF_A_RUN and before != now:
                raise UserError(
                    f"{first.folder} and {one.folder} were evaluated by different protocols: {key} "
                    f"is {_brief(before)} and {_brief(now)}; evaluate them with the same options",
                    path=one.folder,
                )
    for key in ("viceversa", "torch"):
        if len(versions := {str(one.protocol.get(key)) for one in results}) > 1:
            notes.append(f"evaluated by several versions of {key}: {', '.join(sorted(versions))}")
    # Ranges that are fitted to the training images differ between folds, but not within one.
    by_fold: dict[str, RunResult] = {}
    for one in results:
        other = by_fold.setdefault(one.fold, one)
        _refuse_ranges(other, one)
    if any(one.ranges != first.ranges for one in by_fold.values()):
        folds = {
            name: {one.fold for one in results if one.variant == name}
            for name in {one.variant for one in results}
        }
        shared = set.intersection(*folds.values())
        for one in by_fold.values() if not shared else ():
            _refuse_ranges(first, one)
        notes.append(
            "the range of the values differs between folds, because it is fitted to their training "
            "images: l1 and psnr are relative to the range of each fold"
        )
    return notes


def _range_notes(results: Sequence[RunResult]) -> list[str]:
    """Return what the values are relative to."""
    protocol, notes = results[0].protocol, []
    for direction, values in results[0].ranges.items():
        if isinstance(values, dict) and values.get("peak") is not None:
            notes.append(f"{direction}: range: {scaled_range(values)}")
    if psnr := protocol.get("psnr"):
        notes.append(f"PSNR: {psnr}")
    return notes


def _refuse_ranges(one: RunResult, other: RunResult) -> None:
    for direction in one.ranges.keys() & other.ranges.keys():
        before, now = one.ranges[direction], other.ranges[direction]
        if before != now:
            raise UserError(
                f"{one.folder} and {other.folder} have values in different ranges ({direction}: "
                f"{_brief(before)} and {_brief(now)}), so that l1 and psnr cannot be compared; "
                "train them with the same data.a.range and data.b.range",
                option="data.b.range",
                path=other.folder,
            )


def _brief(value: Any) -> str:
    text = "missing" if value is None else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
