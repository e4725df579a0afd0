"""report and compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UserError
from ..images.sources import printable
from .app import app

WIDEST = 40  # characters of a cell
PAGES = (".html", ".htm")


@app.command
def report(run: Path) -> None:
    """Write a run's page anew: curves, samples, health and settings in one file, report.html.

    Parameters
    ----------
    run
        The folder of a run, also of one that is training: runs/NAME.
    """
    from ..reports import refuse_other_folder, write_run_page

    refuse_other_folder(run)
    print(f"the page: {write_run_page(run)}")


@app.command
def compare(
    *runs: Path, out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None
) -> None:
    """Show runs beside each other: the settings that differ, figures, and with -o a page.

    Parameters
    ----------
    runs
        Folders of runs, two or more.
    out
        Write a page with curves and samples there: compare.html.
    """
    if out is not None and out.suffix.lower() not in PAGES:
        raise UserError(f"-o {out} is no page; its name ends in {' or '.join(PAGES)}")
    from ..data.readonly import refuse_inside
    from ..reports import compare_table, write_compare_page

    if out is not None:
        for run in runs:
            refuse_inside(out, _data_of(run), "-o")
    print(_aligned(compare_table(runs)))
    if out is not None:
        write_compare_page(runs, out)
        print(f"\nthe page: {out}")


def _data_of(run: Path) -> Path | None:
    """The data set of a run, if its config.json can be read and the data is there."""
    from ..config import read_recipe
    from ..data.readonly import training_data

    try:
        return training_data({"trained": read_recipe(str(run / "config.json"))}, run)
    except UserError:
        return None


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns of text; what a file says cannot steer the terminal."""
    cells = [[_short(printable(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _short(cell: str) -> str:
    return cell if len(cell) <= WIDEST else f"{cell[: WIDEST - 1]}…"
