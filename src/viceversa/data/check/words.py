"""Findings, lists and paths in words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ...images.sources import printable
from .findings import Finding

FIRST = 3  # names that are listed


def some(texts: Sequence[str], total: int | None = None) -> str:
    """The first three, and how many more there are."""
    more = (len(texts) if total is None else total) - len(texts[:FIRST])
    return ", ".join(texts[:FIRST]) + (f" and {more} more" if more else "")


def in_shell(path: str) -> str:
    """A path as one would type it."""
    return shlex.quote(printable(path))


def headline(finding: Finding) -> str:
    """A finding with its files in one sentence."""
    if not finding.files:
        return finding.text
    return f"{finding.text}: {finding.total} ({some(finding.files, finding.total)})"
