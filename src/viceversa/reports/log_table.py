"""The log of a run as text: a table for each kind of entry, or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..run_log import COMMON, KINDS, NAME, Entry, Kind, read
from .log_columns import number_or_none
from .run_folder import refuse_other_folder
from .text import ABSENT, aligned, number

MAX_WIDTH = 60  # characters of a cell
COUNTS = ("step", "epoch", "images", "n", "best.images", "diagnostic.since")
REPEATED = "images"  # column that begins each block of a wide table


def log_entries(run: Path, kinds: Sequence[Kind] = (), last: int = 0) -> list[Entry]:
    """Return the entries of a run's log, in order.

    Args:
        run: The run folder; the run may still be training.
        kinds: Kinds of entries; empty: all.
        last: Number of entries of each kind, the last ones; 0: all.

    Raises:
        UserError: The folder is not a run folder, or the log cannot be read.
    """
    refuse_other_folder(run)
    path = run / NAME
    try:
        entries = read(path) if path.exists() else []
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", path=path) from None
    left = dict.fromkeys(kinds or KINDS, last or len(entries))
    found = []
    for entry in reversed(entries):
        kind = entry["kind"]
        if kind in left and left[kind] > 0:
            left[kind] -= 1
            found.append(entry)
    return found[::-1]


def log_csv(entries: Sequence[Entry]) -> str:
    """Return entries as CSV: a column for each name; values that are absent or null are empty."""
    file = io.StringIO()
    columns = list(dict.fromkeys([*COMMON, *(name for entry in entries for name in entry)]))
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(entries)
    return file.getvalue()


def log_text(entries: Sequence[Entry], width: int = 0) -> str:
    """Return entries as a table for each kind.

    Args:
        entries: Entries of a log.
        width: Columns of the terminal; wider tables are split into blocks, 0: they are not.
    """
    tables = []
    for kind in KINDS:
        of_kind = [entry for entry in entries if entry["kind"] == kind]
        names = dict.fromkeys(name for entry in of_kind for name in entry if name != "kind")
        used = [name for name in names if any(one.get(name) is not None for one in of_kind)]
        if used:
            columns = [[name, *(_cell(name, one.get(name)) for one in of_kind)] for name in used]
            blocks = [_aligned(block) for block in _blocks(columns, width)]
            tables.append("\n\n".join([f"{kind}:", *blocks]))
    return "\n\n".join(tables)


def _blocks(columns: list[list[str]], width: int) -> Iterator[list[list[str]]]:
    """Split the columns of a table into blocks, each of which begins with the same column."""
    first = [column for column in columns if column[0] == REPEATED]
    block: list[list[str]] = []
    for column in columns:
        if block and 0 < width < sum(2 + len(max(one, key=len)) for one in [*block, column]):
            yield block
            block = [*first]
        block.append(column)
    yield block


def _aligned(columns: list[list[str]]) -> str:
    """Return a table with its columns aligned to the right."""
    widths = [len(max(column, key=len)) for column in columns]
    rows = zip(*columns, strict=True)
    return aligned([c.rjust(w) for c, w in zip(row, widths, strict=True)] for row in rows)


def _cell(name: str, value: Any) -> str:
    found = number_or_none(value)
    if found is None:
        text = ABSENT if value is None else str(value)
        return text if len(text) <= MAX_WIDTH else f"{text[: MAX_WIDTH - 1]}…"
    if name == "time":
        return f"{datetime.fromtimestamp(found):%Y-%m-%d %H:%M:%S}"
    return f"{found:.0f}" if name in COUNTS else number(found)
