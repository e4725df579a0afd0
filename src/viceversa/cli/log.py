"""log."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UserError
from ..run_log import KINDS, NAME, Kind
from .app import command

LAST = 20  # entries of each kind in a table


@command(
    ("log runs/photos", "the last entries of each kind"),
    ("log runs/photos --kind validation --last 0", "all validations"),
    ("log runs/photos --csv", "the whole log as CSV"),
    ("log runs/photos --kind train -o losses.csv", "a CSV file of the losses"),
)
def log(
    run: Path,
    *,
    kind: Annotated[list[Kind] | None, Parameter(consume_multiple=True, negative="")] = None,
    csv: Annotated[bool, Parameter(negative="")] = False,
    last: int | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
) -> None:
    """Print the log of a run as tables or as CSV.

    CSV has the names and values of log.jsonl; tables round numbers and cut long texts.

    Parameters
    ----------
    run
        The run folder, such as runs/NAME. The run may still be training.
    kind
        Kinds of entries: train, validation, diagnostic (default: all).
    csv
        Print CSV.
    last
        Number of entries of each kind, the last ones; 0: all (default: 20 in tables, all in CSV).
    out
        CSV file to write, such as log.csv.
    """
    from ..data.readonly import refuse_output_in_data
    from ..files import write_bytes
    from ..images.sources import printable
    from ..reports.log_table import log_csv, log_entries, log_text
    from .report import data_of

    if last is not None and last < 0:
        raise UserError(f"--last must be at least 0, not {last}", option="--last")
    if out is not None:
        if out.suffix.lower() != ".csv":
            raise UserError(f"-o {out} is not a CSV file; its name must end in .csv", option="-o")
        refuse_output_in_data(out, data_of(run), "-o")
    as_csv = csv or out is not None
    entries = log_entries(run, kind or (), last if last is not None else 0 if as_csv else LAST)
    # What a file contains must not control the terminal.
    entries = [
        {printable(name): printable(v) if isinstance(v, str) else v for name, v in entry.items()}
        for entry in entries
    ]
    if out is not None:
        write_bytes(out, log_csv(entries).encode())
        print(f"{len(entries)} entries: {out}")
    elif csv:
        print(log_csv(entries), end="")
    elif entries:
        print(log_text(entries, shutil.get_terminal_size().columns if sys.stdout.isatty() else 0))
    else:
        kinds = " or ".join(kind or KINDS)
        print(f"{run / NAME} has no entry of the kind {kinds} yet")
