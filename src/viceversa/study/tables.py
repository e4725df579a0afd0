"""Tables of a comparison: text, CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import UserError
from ..files import write_bytes
from ..images.sources import printable
from ..metrics.registry import DIRECTIONS, METRICS, better
from ..reports.text import ABSENT, aligned, number
from .comparison import Comparison, VariantMetric

TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
TEX |= {character: f"\\{character}" for character in "&%$#_{}"}
COLUMNS = ["direction", "metric", "variant", "runs", "mean", "low", "high", "fold_deviation"]
COLUMNS += ["seed_deviation", "images", "groups"]
COLUMNS += ["difference", "difference_low", "difference_high", "p", "verdict"]
Cells = list[str]


def text_table(comparison: Comparison) -> str:
    """Return the comparison as aligned text, with its notes."""
    notes = [f"note: {note}" for note in comparison.notes]
    return "\n".join([aligned(cells(comparison)), *notes])


def write_table(comparison: Comparison, path: Path) -> None:
    """Write a table; the ending of its name selects the format.

    Raises:
        UserError: The ending is unknown, or the file cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"-o {path}: the name of a table ends in {', '.join(FORMATS)}",
            option="--out",
            path=path,
        )
    write_bytes(path, FORMATS[path.suffix.lower()](comparison).encode("utf-8", "replace"))


def as_csv(comparison: Comparison) -> str:
    """Return all values with all digits; missing values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in comparison.rows:
        difference = row.difference or ("",) * 5
        low, high = row.interval or ("", "")
        deviations = (row.fold_deviation, row.seed_deviation)
        shown = ["" if one is None else one for one in deviations]
        start = [row.direction, row.metric, row.variant, row.runs, row.mean, low, high]
        writer.writerow([*start, *shown, row.images or "", row.groups or "", *difference])
    return text.getvalue()


def as_markdown(comparison: Comparison) -> str:
    """Return a Markdown table and its notes."""
    header, *rows = [[cell.replace("|", r"\|") for cell in row] for row in cells(comparison)]
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(row)} |" for row in lines)
    return "\n".join([table, "", *(f"- {note}" for note in comparison.notes)]).rstrip() + "\n"


def as_latex(comparison: Comparison) -> str:
    """Return a LaTeX table, with its notes as comments. It needs the package booktabs."""
    header, *rows = [[_tex(cell) for cell in row] for row in cells(comparison)]
    numbers = len(header) - 2
    lines = [f"% {note}" for note in ("needs \\usepackage{booktabs}", *comparison.notes)]
    lines += [f"\\begin{{tabular}}{{ll{'r' * numbers}}}", "\\toprule"]
    lines += [f"{' & '.join(header)} \\\\", "\\midrule"]
    before = ""
    for row in rows:
        if before and row[0] and row[0] != before:
            lines.append("\\midrule")
        before = row[0] or before
        lines.append(f"{' & '.join(row)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


FORMATS: dict[str, Callable[[Comparison], str]] = {
    ".csv": as_csv,
    ".md": as_markdown,
    ".tex": as_latex,
}


def cells(comparison: Comparison) -> list[Cells]:
    """Return a header and a row for each metric and variant, without empty columns."""
    header = ["metric", "variant", "runs", "mean [95 % interval]", "sd folds", "sd seeds"]
    header += ["images (groups)", "difference [95 % interval]", "p", "verdict"]
    directions = {row.direction for row in comparison.rows}
    rows = [_row(row, len(directions) > 1) for row in comparison.rows]
    kept = [i for i in range(len(header)) if i < 4 or any(row[i] != ABSENT for row in rows)]
    return [[printable(row[i]) for i in kept] for row in [header, *rows]]


def _row(row: VariantMetric, directions: bool) -> Cells:
    label = METRICS[row.metric].label if row.metric in METRICS else row.metric
    which = better(row.metric)
    where = f", {DIRECTIONS.get(row.direction, row.direction)}" if directions else ""
    text = f"{label}{where}{f' ({which})' if which else ''}"
    mean = number(row.mean) + (f" {_interval(row.interval)}" if row.interval else "")
    start = [text, row.variant, f"{row.runs}", mean]
    start += [number(row.fold_deviation), number(row.seed_deviation)]
    start += [f"{row.images} ({row.groups})" if row.images else ABSENT]
    if row.difference is None:
        return [*start, ABSENT, ABSENT, ABSENT]
    one = row.difference
    return [
        *start,
        f"{one.mean:+.4g} {_interval((one.low, one.high))}",
        f"{one.p:.2g}",
        one.verdict,
    ]


def _interval(ends: Sequence[float]) -> str:
    return f"[{number(ends[0])}, {number(ends[1])}]"


def _tex(text: str) -> str:
    """Escape a text for LaTeX."""
    return re.sub(r"[\\~^&%$#_{}]", lambda match: TEX[match[0]], text.replace(ABSENT, "--"))
