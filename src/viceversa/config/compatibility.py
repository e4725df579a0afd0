"""Files of earlier versions, converted on reading; and hints for options with their old names.

Options in recipes and on the command line are not converted but refused, so that one name is in
use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..fields import nested
from ..files import finite

REMOVED = {("speed", "together")}  # options of earlier versions that changed no result
RENAMED = {
    ("method", "pool"): "pool_size",
    ("data", "on_bad"): "on_invalid",
    ("data", "max_bad"): "max_invalid",
    ("data", "turn"): "rotate90",
    ("train", "player_lr"): "lr_per_network",
    ("train", "accumulate"): "accumulation_steps",
    ("train", "clip"): "grad_clip",
    ("train", "board"): "loggers",
    ("train", "keep"): "keep_last",
    ("train", "on_full"): "on_disk_full",
    ("validate", "also"): "extra_metrics",
    ("validate", "best"): "best_metric",
    ("speed", "small_maps"): "conv_as_matmul",
    ("speed", "graph"): "cuda_graph",
    ("speed", "recompute"): "activation_checkpointing",
}
# old option -> new values of its old ones
VALUES: dict[tuple[str, str], dict[Any, Any]] = {
    ("train", "board"): {True: ["tensorboard"], False: []},
    ("train", "on_full"): {"go_on": "continue"},
    ("speed", "recompute"): {"nothing": "off"},
}
# Values of options in files of runs that do not contain them; new runs have other defaults.
FORMER = {"train": {"precision": "fp32"}}
METRICS = {"content": "edge_correlation"}  # also with a direction: content_ab
WEIGHTS = {"averaged": "ema"}
FOLDERS = {"verdicts": "patch_maps", "averaged": "ema", "board": "tensorboard"}
PAIRED_BY_NAME = {"pix2pix": True, "cyclegan": False}
# nested tables and values of a line of a log -> their names in the flat one, or their prefix
LOG_NAMES = {
    "losses": "loss",
    "gradients": "grad_norm",
    "validation.raw": "val",
    "validation.ema": "val_ema",
    "validation.split": "split",
    "validation.n": "n",
    "validation.chosen_by": "best.metric",
    "validation.best": "best",
    "health": "diagnostic",
    "health.saw": "diagnostic.text",
}
HEADER_KEYS = {"images_seen": "images_processed"}
MONITOR_KEYS = {"health": "diagnostics", "averages": "ema", "looked": "monitored"}
CASE_KEYS = {"told": "reported", "turned": "changed", "saw": "text"}  # of a training problem
MAX_LOG_LEVELS = 8  # nested lines have three
LOG_KINDS = {"validation": "validation", "health": "diagnostic", "losses": "train"}


def renamed(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a config.json, header or checkpoint with the options' new names."""
    return {
        section: _renamed(section, values) if isinstance(values, Mapping) else values
        for section, values in table.items()
    }


def _renamed(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in values.items():
        new = RENAMED.get((section, key), key)
        if new == key:
            found[key] = value
        elif new not in values:
            values_of = VALUES.get((section, key), {})
            found[new] = values_of.get(value, value) if isinstance(value, bool | str) else value
    return found


def current_sections(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a config.json or checkpoint as this version would have written them.

    Options have their new names. Options that the earlier version did not have get the value that
    reproduces its behaviour, if this value is not the default.
    """
    current = renamed(table)
    for section, values in FORMER.items():
        if isinstance(table.get(section), Mapping):
            current[section] = {**values, **current[section]}
    return current


def refuse_old_names(table: Mapping[str, Any], source: str) -> None:
    """Raise UserError if a recipe contains an option by an old name."""
    for (section, key), new in RENAMED.items():
        if isinstance(table.get(section), Mapping) and key in table[section]:
            option = f"{section}.{new}"
            raise UserError(f"{source}: {section}.{key} is now {option}", option=option)


def refuse_old_options(words: Sequence[str]) -> None:
    """Raise UserError if a command line contains an option by an old name."""
    given = {word.partition("=")[0].replace(".no-", ".") for word in words}
    for (section, key), new in RENAMED.items():
        if f"--{section}.{key}" in given:
            option = f"{section}.{new}"
            raise UserError(f"--{section}.{key} is now --{option}", option=option)


def current_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the header of a model file with the names of this version."""
    current = dict(header)
    if isinstance(header.get("trained"), Mapping):
        current["trained"] = renamed(header["trained"])
    if "weights" in header:
        current["weights"] = _weights(header["weights"])
    return _with_new_keys(current, HEADER_KEYS)


def current_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint with the names of this version."""
    current = dict(state)
    if isinstance(state.get("sections"), Mapping):
        current["sections"] = current_sections(state["sections"])
    if isinstance(state.get("monitor"), Mapping):
        current["monitor"] = _current_monitor(state["monitor"])
    return current


def _current_monitor(monitor: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of monitoring with the names of this version."""
    current = _with_new_keys(monitor, MONITOR_KEYS)
    if isinstance(best := current.get("best"), Mapping):
        metric, weights = best.get("metric"), best.get("weights")
        current["best"] = {**best, "metric": _metric(metric), "weights": _weights(weights)}
    found = current.get("diagnostics")
    if isinstance(found, Mapping) and isinstance(cases := found.get("cases"), Mapping):
        new = {
            name: _with_new_keys(case, CASE_KEYS) if isinstance(case, Mapping) else case
            for name, case in cases.items()
        }
        current["diagnostics"] = {**found, "cases": new}
    return current


def _with_new_keys(table: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    return {keys.get(key, key): value for key, value in table.items()}


def current_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of a log with the names of this version."""
    validation = entry.get("validation")
    if not isinstance(validation, Mapping):
        return dict(entry)
    current = {}
    for key, value in validation.items():
        if isinstance(value, Mapping):
            value = {_metric(name): number for name, number in value.items()}
        current[WEIGHTS.get(key, key)] = value
    if isinstance(best := current.get("best"), Mapping):
        current["best"] = {**best, "weights": _weights(best.get("weights"))}
    if "chosen_by" in current:
        current["chosen_by"] = _metric(current["chosen_by"])
    return {**entry, "validation": current}


def flat_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested line of a log as a flat one, with the names of this version.

    What nested lines did not record is None: the time, the optimizer steps, and in part the epoch
    and the learning rate.
    """
    kind = next((kind for name, kind in LOG_KINDS.items() if name in entry), None)
    flat = dict.fromkeys(("kind", "time", "step", "epoch", "images", "lr")) | {"kind": kind}
    _flatten("", "", finite(current_entry(entry)), flat)
    if flat.get("diagnostic.state") == "over":
        flat["diagnostic.state"] = "resolved"
    return flat


def _flatten(path: str, name: str, value: Any, flat: dict[str, Any]) -> None:
    """Add the values of a nested table to a flat one; lists become text.

    Raises ValueError if tables are nested deeper than in any line that a run wrote.
    """
    if path.count(".") > MAX_LOG_LEVELS:
        raise ValueError("the tables of this line are nested too deeply")
    if not isinstance(value, Mapping):
        flat[name] = json.dumps(value) if isinstance(value, list) else value
        return
    for key, inner in value.items():
        inner_path = f"{path}.{key}" if path else key
        default = f"{name}.{key}" if name else key
        _flatten(inner_path, LOG_NAMES.get(inner_path, default), inner, flat)


def _weights(value: Any) -> Any:
    return WEIGHTS.get(value, value) if isinstance(value, str) else value


def _metric(name: Any) -> Any:
    base, _, direction = name.partition("_") if isinstance(name, str) else ("", "", "")
    if base not in METRICS:
        return name
    return f"{METRICS[base]}_{direction}" if direction else METRICS[base]


def rename_folders(run: Path) -> None:
    """Rename the folders of a run that have new names. A folder in the way is left as it is."""
    for old, new in FOLDERS.items():
        if (run / old).is_dir() and not (run / new).exists():
            with suppress(OSError):  # such as a read-only folder
                (run / old).rename(run / new)


def folder_of(run: Path, name: str) -> Path:
    """Return a folder of a run that may still have its old name."""
    old = next((old for old, new in FOLDERS.items() if new == name), name)
    return run / old if (run / old).is_dir() and not (run / name).exists() else run / name


def without_removed(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a config.json or recipe without options that no longer exist."""
    return {
        section: {key: value for key, value in values.items() if (section, key) not in REMOVED}
        if isinstance(values, Mapping)
        else values
        for section, values in table.items()
    }


def removed(table: Mapping[str, Any]) -> list[str]:
    """Return the options of a table that no longer exist."""
    return [f"{section}.{key}" for section, key in sorted(REMOVED) if key in table.get(section, {})]


def trained_on_pairs(header: Mapping[str, Any]) -> bool | None:
    """Return whether the method of a model trained on pairs; None if that is not known.

    Headers without the field `paired` are read by the name of the method.
    """
    if isinstance(header.get("paired"), bool):
        return bool(header["paired"])
    name = _method(header).get("name")
    return PAIRED_BY_NAME.get(name) if isinstance(name, str) else None


def objective_of(header: Mapping[str, Any]) -> str | None:
    """Return the name of the adversarial objective of a discriminator; None if it was not trained.

    Headers without the field `objective` are read by the options of the method.
    """
    method = _method(header)
    trained = method.get("lambda_gan", 1.0)
    objective = header.get("objective", method.get("gan_loss") if trained else None)
    return objective if isinstance(objective, str) else None


def sample_columns(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the column titles of the sample grids of a run whose machine.json lacks them."""
    name = settings.get("method", {}).get("name")
    if not isinstance(name, str) or name not in PAIRED_BY_NAME:
        return []
    if PAIRED_BY_NAME[name]:
        return ["source", "translation", "target"]
    a, b = "BA" if settings.get("data", {}).get("direction") == "ba" else "AB"
    return [a, f"to {b}", "and back", b, f"to {a}", "and back"]


def _method(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of the method in the header of a model."""
    return nested(header, "trained", "method")
