"""report and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UserError
from .app import app

MAX_WIDTH = 40  # characters of a cell
PAGES = (".html", ".htm")


@app.command
def report(run: Path) -> None:
    """Update report.html of a run: curves, sample grids, diagnostics and settings.

    Parameters
    ----------
    run
        Run folder, such as runs/NAME. The run may still be training.
    """
    from ..reports import refuse_other_folder, write_run_page

    refuse_other_folder(run)
    print(f"the page: {write_run_page(run)}")


@app.command
def compare(
    *runs: Path, out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None
) -> None:
    """Compare runs: settings that differ, metrics and losses; with -o also an HTML page.

    Parameters
    ----------
    runs
        Two or more run folders.
    out
        HTML file with curves and sample grids, such as compare.html.
    """
    if out is not None and out.suffix.lower() not in PAGES:
        raise UserError(f"-o {out} is not a page; its name must end in {' or '.join(PAGES)}")
    from ..data.readonly import refuse_output_in_data
    from ..images.sources import printable
    from ..reports import compare_table, write_compare_page
    from ..reports.text import aligned

    if out is not None:
        for run in runs:
            refuse_output_in_data(out, _data_of(run), "-o")
    # What a file contains must not control the terminal.
    rows = ([_short(printable(cell)) for cell in row] for row in compare_table(runs))
    print(aligned(rows))
    if out is not None:
        write_compare_page(runs, out)
        print(f"\nthe page: {out}")


def _data_of(run: Path) -> Path | None:
    """The data set of a run, if its config.json can be read and the data is there."""
    from ..config.recipes import read_recipe
    from ..data.readonly import training_data

    try:
        return training_data({"trained": read_recipe(str(run / "config.json"))}, run)
    except UserError:
        return None


def _short(cell: str) -> str:
    return cell if len(cell) <= MAX_WIDTH else f"{cell[: MAX_WIDTH - 1]}…"
