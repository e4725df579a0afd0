"""Numbers and tables as text, for pages and for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ABSENT = "–"


def number(value: float | None) -> str:
    """Return a number with four significant digits, or a dash for None."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def value_range(values: Mapping[str, Any]) -> str:
    """Return a range of values with its peak, as `evaluate` stores it: "0 to 255 (peak 255)"."""
    if values.get("peak") is None:
        return "one-hot classes (peak 2)"
    low, high = (_numbers(values.get(key)) for key in ("low", "high"))
    unit = f" {values['unit']}" if values.get("unit") else ""
    return f"{low} to {high}{unit} ({peak(values)})"


def scaled_range(values: Mapping[str, Any]) -> str:
    """Return a range of values, how metrics scale it, and the peak of PSNR before and after."""
    if values.get("peak") is None:
        return "classes as one-hot values from -1 to 1; PSNR with peak 2"
    before = value_range(values).partition(" (")[0]
    return (
        f"{before} in the files, scaled to -1 to 1; PSNR with peak 2 (equal to {peak(values)} "
        "before scaling)"
    )


def peak(values: Mapping[str, Any]) -> str:
    """Return the peak of a range of values: "peak 255"."""
    unit = f" {values['unit']}" if values.get("unit") else ""
    return f"peak {_numbers(values.get('peak'))}{unit}"


def _numbers(values: Any) -> str:
    numbers = values if isinstance(values, list) else [values]
    return ", ".join(f"{one:g}" if isinstance(one, int | float) else ABSENT for one in numbers)


def duration(seconds: float) -> str:
    """Return a duration with its two largest units, such as `3 h 20 min`."""
    rest = round(seconds)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        parts.append((count, unit))
    first = next((i for i, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = [f"{count} {unit}" for count, unit in parts[first : first + 2] if count]
    return " ".join(shown) or "0 s"


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
