"""report and compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..errors import UserError
from .app import command

if TYPE_CHECKING:
    from ..study.comparison import Comparison

MAX_WIDTH = 40  # characters of a cell
PAGES = (".html", ".htm")
MANY = 12  # runs; a page of more shows variants


@command(("report runs/photos", "update runs/photos/report.html"))
def report(run: Path) -> None:
    """Update report.html of a run: curves, sample grids, diagnostics and settings.

    Parameters
    ----------
    run
        The run folder, such as runs/NAME. The run may still be training.
    """
    from ..reports import refuse_other_folder, write_run_page

    refuse_other_folder(run)
    print(f"the page: {write_run_page(run)}")


@command(
    ("compare runs/1 runs/2", "print what differs"),
    ("compare runs/* -o compare.html", "also write a page with curves and samples"),
    ("compare studies/photos --baseline lsgan -o table.tex", "test the variants of a study"),
)
def compare(
    *runs: Path,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    baseline: str = "",
) -> None:
    """Compare runs or a study: settings, metrics with intervals, tests against a baseline.

    Parameters
    ----------
    runs
        A study, or two or more run folders.
    out
        A page such as compare.html, with curves and sample grids; or a table of the evaluations:
        .csv, .md or .tex.
    baseline
        Variant that the others are tested against: a variant of a study, or the name of a run.
    """
    from ..data.readonly import refuse_output_in_data
    from ..images.sources import printable
    from ..reports import compare_table
    from ..reports.text import aligned
    from ..study.folder import is_study
    from ..study.results import has_evaluation, run_folders
    from ..study.tables import FORMATS, text_table, write_table

    suffix = "" if out is None else out.suffix.lower()
    if out is not None and suffix not in (*PAGES, *FORMATS):
        raise UserError(
            f"-o {out} is neither a page ({', '.join(PAGES)}) nor a table ({', '.join(FORMATS)})",
            option="--out",
            path=out,
        )
    of_study = any(map(is_study, runs))
    folders, notes = run_folders(runs) if of_study else (list(runs), [])
    if out is not None:
        for run in folders:
            refuse_output_in_data(out, data_of(run), "-o")
    if not of_study:
        # What a file contains must not control the terminal.
        rows = ([_short(printable(cell)) for cell in row] for row in compare_table(folders))
        print(aligned(rows))
    wanted = of_study or suffix in FORMATS or bool(baseline)
    evaluated = wanted or all(map(has_evaluation, folders))
    comparison = _comparison(folders, baseline, notes, wanted) if evaluated else None
    if comparison is not None:
        print(("" if of_study else "\n") + text_table(comparison))
    if out is not None and suffix in FORMATS and comparison is not None:
        write_table(comparison, out)
    elif out is not None:
        _write_page(folders, comparison, out, of_study or len(folders) > MANY)
    if out is not None:
        print(f"\nthe {'table' if suffix in FORMATS else 'page'}: {out}")


def _comparison(
    folders: list[Path], baseline: str, notes: list[str], wanted: bool
) -> Comparison | None:
    """Compare evaluations. Runs that cannot be compared are an error only if `wanted`."""
    from ..study.comparison import compare_variants

    try:
        found = compare_variants(folders, baseline)
    except UserError as error:
        if wanted:
            raise
        print(f"\nnote: the evaluations are not compared: {error}")
        return None
    return found._replace(notes=[*notes, *found.notes])


def _write_page(folders: list[Path], comparison: Comparison | None, out: Path, many: bool) -> None:
    """Write a page with a column for each run or, of many runs, for each variant."""
    from ..reports import refuse_other_folder, write_compare_page, write_study_page
    from ..study.results import variants_of
    from ..study.tables import cells

    if not many:
        write_compare_page(folders, out)
        return
    variants: dict[str, list[Path]] = {}
    for run, name in zip(folders, variants_of(folders), strict=True):
        refuse_other_folder(run)
        variants.setdefault(name, []).append(run)
    table, notes = (cells(comparison), comparison.notes) if comparison else ([], [])
    write_study_page(variants, table, notes, out)


def data_of(run: Path) -> Path | None:
    """Return the dataset of a run; None if its config.json or the dataset cannot be found."""
    from ..config.recipes import read_recipe
    from ..data.readonly import training_data

    try:
        return training_data({"trained": read_recipe(str(run / "config.json"))}, run)
    except UserError:
        return None


def _short(cell: str) -> str:
    return cell if len(cell) <= MAX_WIDTH else f"{cell[: MAX_WIDTH - 1]}…"
