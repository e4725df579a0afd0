"""HTML pages of runs, comparisons and evaluations. Needs no torch."""

from .compare import compare_page, compare_table, write_compare_page
from .run import RunPage, run_page, write_run_page
from .run_folder import refuse_other_folder
from .study import study_page, write_study_page

__all__ = [
    "RunPage",
    "compare_page",
    "compare_table",
    "refuse_other_folder",
    "run_page",
    "study_page",
    "write_compare_page",
    "write_run_page",
    "write_study_page",
]
