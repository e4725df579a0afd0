"""Tables of a comparison: text, CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
import math
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
SIGN = re.compile(r"(?<![\w.])([+-])(?=\d|inf)")  # of a number
LARGE = 1e15  # of such values only significant digits are written
MOST = 12  # decimals
DIGITS = 2  # significant ones of the uncertainty of a value
COLUMNS = ["direction", "metric", "variant", "runs", "mean", "low", "high", "fold_deviation"]
COLUMNS += ["seed_deviation", "images", "groups"]
COLUMNS += ["difference", "difference_low", "difference_high", "p", "outcome"]
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
    header, *rows = [
        [_tex(cell) for cell in row[:2]] + [SIGN.sub(r"$\1$", _tex(cell)) for cell in row[2:]]
        for row in cells(comparison)
    ]
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
    header += ["images (groups)", "difference [95 % interval]", "p", "outcome"]
    directions = {row.direction for row in comparison.rows}
    rows = [
        _row(row, len(directions) > 1, [one for one in comparison.rows if _key(one) == _key(row)])
        for row in comparison.rows
    ]
    kept = [i for i in range(len(header)) if i < 4 or any(row[i] != ABSENT for row in rows)]
    return [[printable(row[i]) for i in kept] for row in [header, *rows]]


def _key(row: VariantMetric) -> tuple[str, str]:
    return row.direction, row.metric


def _row(row: VariantMetric, directions: bool, alike: Sequence[VariantMetric]) -> Cells:
    """Return the cells of a row; the rows `alike` of its metric have the same decimals."""
    differences = [one.difference for one in alike if one.difference]
    deviations = [d for one in alike for d in (one.fold_deviation, one.seed_deviation) if d]
    means = [one.mean for one in alike]
    half_widths = [(one.interval[1] - one.interval[0]) / 2 for one in alike if one.interval]
    of_means = decimals(means, half_widths or deviations)
    of_deviations = decimals(deviations, deviations)
    label = METRICS[row.metric].label if row.metric in METRICS else row.metric
    which = better(row.metric)
    where = f", {DIRECTIONS.get(row.direction, row.direction)}" if directions else ""
    text = f"{label}{where}{f' ({which})' if which else ''}"
    mean = _fixed(row.mean, of_means)
    mean += f" {_interval(row.interval, of_means)}" if row.interval else ""
    start = [text, row.variant, f"{row.runs}", mean]
    start += [_fixed(one, of_deviations) for one in (row.fold_deviation, row.seed_deviation)]
    start += [f"{row.images} ({row.groups})" if row.images else ABSENT]
    if row.difference is None:
        return [*start, ABSENT, ABSENT, ABSENT]
    one = row.difference
    half_widths = [(each.high - each.low) / 2 for each in differences]
    of_differences = decimals([each.mean for each in differences], half_widths)
    sign = "+" if one.mean > 0 else ""
    interval = _interval((one.low, one.high), of_differences)
    return [
        *start,
        f"{sign}{_fixed(one.mean, of_differences)} {interval}",
        f"{one.p:.4f}",
        one.outcome,
    ]


def decimals(values: Sequence[float], uncertainties: Sequence[float]) -> int:
    """Return the number of decimals that values of one column have.

    It is that of two significant digits of the smallest uncertainty, or, if there is none, of four
    significant digits of the smallest value.
    """
    largest = max((abs(one) for one in values if math.isfinite(one)), default=0.0)
    # Smaller ones are rounding errors, of values that are equal.
    known = [one for one in uncertainties if 1e-6 * largest < one < math.inf]
    digits = DIGITS if known else 4
    known = known or [abs(one) for one in values if 1e-6 * largest < abs(one) < math.inf]
    places = digits - 1 - math.floor(math.log10(min(known))) if known else 0
    return min(max(0, places), MOST)


def _fixed(value: float | None, places: int) -> str:
    if value is None or abs(value) >= LARGE:
        return number(value)
    return f"{round(value, places) + 0.0:.{places}f}"  # + 0.0: no -0.00


def _interval(ends: Sequence[float], places: int) -> str:
    return f"[{_fixed(ends[0], places)}, {_fixed(ends[1], places)}]"


def _tex(text: str) -> str:
    """Escape a text for LaTeX."""
    return re.sub(r"[\\~^&%$#_{}]", lambda match: TEX[match[0]], text.replace(ABSENT, "--"))
