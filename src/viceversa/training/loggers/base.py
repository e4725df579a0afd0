"""What the loggers share: their interface, the run, and the numbers of a log entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ...files import write_json
from ...run_log import Entry


class About(NamedTuple):
    """The run that is logged."""

    folder: str
    settings: dict[str, Any]
    done: int
    """Images processed before; 0 in a new run."""

    @property
    def name(self) -> str:
        """Name of the run."""
        return Path(self.folder).name


class RunLogger(Protocol):
    """Interface of TensorBoard, Weights & Biases and MLflow. Any exception ends the logger."""

    address: str
    """Where the user finds the run, for a message."""

    def log(self, entry: Entry) -> None:
        """Log the numbers of an entry of the log."""

    def image(self, kind: str, images: int, path: str) -> None:
        """Log a PNG file: a grid of `samples` or `patch_maps` after so many images."""

    def close(self) -> None:
        """Finish."""


def scalars(entry: Entry) -> dict[str, float]:
    """Return the numbers of an entry with tags such as `loss/g_l1`; no texts, no null."""
    if entry["kind"] == "diagnostic":
        return {}
    return {
        name.replace(".", "/", 1): value
        for name, value in entry.items()
        if isinstance(value, int | float) and name not in ("time", "images", "n")
    }


def saved_id(about: About, name: str) -> str | None:
    """Return the ID of the W&B or MLflow run that a resumed run continues; None in a new run."""
    try:
        found = json.loads(_id_file(about, name).read_text())["id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found) if about.done else None


def save_id(about: About, name: str, run_id: str) -> None:
    """Save the ID for `saved_id`."""
    write_json(_id_file(about, name), {"id": run_id})


def _id_file(about: About, name: str) -> Path:
    return Path(about.folder) / f"{name}.json"
