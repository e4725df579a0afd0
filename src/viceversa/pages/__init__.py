"""Pages to look at: what lies in a run's folder, as one HTML file. Knows no torch."""

from .compare import compare_page, compare_table, write_compare_page
from .folder import refuse_other_folder
from .run import run_page, write_run_page

__all__ = [
    "compare_page", "compare_table", "refuse_other_folder", "run_page", "write_compare_page",
    "write_run_page",
]  # fmt: skip
