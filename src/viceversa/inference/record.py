"""Record of the results in a folder, so that an interrupted translation can be resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import digest_of

NAME = ".viceversa.jsonl"  # hidden, since it is stored beside the images
TILES = "tiles"  # key of a line; --resume ignores it
OTHERS = ".viceversa-*.jsonl"  # of the processes after the first


class Record:
    """Record with one JSON line per result: SHA-256, source, model, settings, and tiles if any.

    Several processes may share a folder. Each process reads all files of the record, but appends to
    a separate file, since appending to one file is not safe on network file systems. If a line is
    damaged or its result has changed, the image is translated again.

    Args:
        folder: The folder of the results.
        model: SHA-256 of the model.
        settings: The options that results depend on.
        process: Number of this process, from 0.
    """

    def __init__(
        self, folder: Path, model: str, settings: Mapping[str, Any], process: int = 0
    ) -> None:
        self.path, self._folder = (
            folder / (f".viceversa-{process}.jsonl" if process else NAME),
            folder,
        )
        self._origin = {"model": model, "settings": dict(settings)}
        self._lines = _read([folder / NAME, *sorted(folder.glob(OTHERS))])

    def has(self, result: Path, source: str) -> bool:
        """Return whether a result exists of this source (SHA-256), model and settings."""
        lines = [_without_tiles(line) for line in self._lines.get(self._name(result), [])]
        digests = [str(line.get("sha256")) for line in lines]
        known = [one for one in digests if self._line(result, source, one) in lines]
        return bool(known) and result.exists() and digest_of(result) in known

    def add(self, result: Path, source: str, tiles: Mapping[str, Any] | None = None) -> None:
        """Record a result that was written, and its tiles. Raises OSError or UserError."""
        line = self._line(result, source, digest_of(result)) | ({TILES: tiles} if tiles else {})
        lines = self._lines.setdefault(self._name(result), [])
        if line in lines:
            return
        with self.path.open("ab+") as file:
            if file.tell():  # a killed process may have left half a line
                file.seek(-1, os.SEEK_END)
                file.write(b"" if file.read() == b"\n" else b"\n")
            file.write(json.dumps(line).encode() + b"\n")
        lines.append(line)

    def _name(self, result: Path) -> str:
        return result.relative_to(self._folder).as_posix()

    def _line(self, result: Path, source: str, digest: str) -> dict[str, Any]:
        return {"result": self._name(result), "sha256": digest, "source": source, **self._origin}


def add_if_possible(
    record: Record | None, result: Path, source: str, tiles: Mapping[str, Any] | None = None
) -> None:
    """Add a result to the record, if there is one. Without it the file is only translated again.

    Args:
        record: The record.
        result: The result.
        source: SHA-256 of the source; empty: unknown.
        tiles: Tiles of the translation; None if it was not translated in tiles.
    """
    if record is not None and source:
        with suppress(OSError, UserError):
            record.add(result, source, tiles)


def _without_tiles(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != TILES}


def _read(paths: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of each result; invalid lines are ignored."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError:  # usually it does not exist yet
            continue
        for text in data.splitlines():
            try:
                line = json.loads(text)
                lines.setdefault(str(line["result"]), []).append(line)
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
    return lines
