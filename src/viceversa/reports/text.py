"""Numbers and tables as text, for pages and for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

ABSENT = "–"


def number(value: float | None) -> str:
    """Return a number with four significant digits, or a dash for None."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def aligned(rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Return rows of cells as lines of aligned columns; rows may have unequal lengths."""
    rows = list(rows)
    widths: dict[int, int] = {}
    for row in rows:
        for column, cell in enumerate(row):
            widths[column] = max(widths.get(column, 0), len(cell))
    return "\n".join(
        indent + "  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)).rstrip()
        for row in rows
    )
