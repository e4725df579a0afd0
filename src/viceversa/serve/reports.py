"""Messages of workers to their supervisor."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from .metrics import Counts

GONE = EOFError, OSError  # raised if the other process has closed the connection


@dataclass(frozen=True)
class Report:
    """State of a worker."""

    ready: bool = False
    """Whether the models of the worker are loaded."""
    stalled: bool = False
    """Whether a batch takes longer than its time limit."""
    error: str = ""
    """Error that ended the worker; empty: none."""
    models: dict[str, str] = field(default_factory=dict)
    """Descriptions of the models by name."""
    counts: Counts = field(default_factory=Counts)


def configure_logging() -> None:
    """Write warnings to standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
