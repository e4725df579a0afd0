"""Record of the results in a folder, so that an interrupted translation can be resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import sha256

NAME = ".viceversa.jsonl"  # hidden, since it is stored beside the images


class Record:
    """One JSON line per result: its SHA-256, and the source, model and settings that it is from.

    Lines are appended, so several processes may share a folder. A damaged line, or one of a result
    that has changed, only means that the image is translated again.

    Args:
        folder: The folder of the results.
        model: SHA-256 of the model.
        settings: The options that decide what a result is.
    """

    def __init__(self, folder: Path, model: str, settings: Mapping[str, Any]) -> None:
        self.path, self._folder = folder / NAME, folder
        self._origin = {"model": model, "settings": dict(settings)}
        self._lines = _read(self.path)

    def has(self, result: Path, source: str) -> bool:
        """Return whether a result exists of this source (SHA-256), model and settings."""
        line = self._lines.get(self._name(result))
        if line is None or line != self._line(result, source, str(line.get("sha256"))):
            return False
        return result.is_file() and sha256(result) == line["sha256"]

    def add(self, result: Path, source: str) -> None:
        """Record a result that was written. Raises OSError or UserError."""
        line = self._line(result, source, sha256(result))
        if line == self._lines.get(self._name(result)):
            return
        with self.path.open("ab+") as file:
            if file.tell():  # a killed process may have left half a line
                file.seek(-1, os.SEEK_END)
                file.write(b"" if file.read() == b"\n" else b"\n")
            file.write(json.dumps(line).encode() + b"\n")
        self._lines[str(line["result"])] = line

    def _name(self, result: Path) -> str:
        return result.relative_to(self._folder).as_posix()

    def _line(self, result: Path, source: str, digest: str) -> dict[str, Any]:
        return {"result": self._name(result), "sha256": digest, "source": source, **self._origin}


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the last line of each result; invalid lines are ignored."""
    lines: dict[str, dict[str, Any]] = {}
    try:
        data = path.read_bytes()
    except OSError:  # usually it does not exist yet
        return lines
    for text in data.splitlines():
        try:
            line = json.loads(text)
            lines[str(line["result"])] = line
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return lines
