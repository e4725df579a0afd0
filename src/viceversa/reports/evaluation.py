"""Page of an evaluation: metrics, protocol, and the best, median and worst cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .page import flatten, render, write_page


class Case(NamedTuple):
    """Image file of a case, the name of its source, and a metric with its value."""

    path: Path
    name: str
    metric: str


class DirectionResult(NamedTuple):
    """Results of a direction.

    `values`: sentences on their range; `cases`: by kind; `columns`: column titles of their images.
    """

    title: str
    values: str
    numbers: Sequence[Sequence[str]]
    cases_title: str
    cases: Mapping[str, Sequence[Case]]
    columns: Sequence[str]
    patch_maps: bool


def write_evaluation_page(
    path: Path,
    title: str,
    notes: Sequence[str],
    directions: Sequence[DirectionResult],
    protocol: Mapping[str, Any],
) -> None:
    """Write the page of an evaluation. Raises UserError if it cannot be written."""
    values = {"title": title, "notes": notes, "directions": directions}
    write_page(path, render("evaluation.html", protocol=flatten(protocol), **values))
