"""Check of a dataset: scan every file once, find issues, render a report."""

from .check import check_dataset
from .render import as_dict, as_text
from .result import CheckResult, Issue, usable_splits
from .shift import add_shifts

__all__ = [
    "CheckResult",
    "Issue",
    "add_shifts",
    "as_dict",
    "as_text",
    "check_dataset",
    "usable_splits",
]
