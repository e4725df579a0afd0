"""Evaluation of a model, or of generated images: metrics with their protocol, a page of cases."""

from .results import DirectionMetrics, Evaluation, as_json, as_table
from .run import check_output_folder, default_folder, evaluate, run_evaluation, write_evaluation

__all__ = [
    "DirectionMetrics",
    "Evaluation",
    "as_json",
    "as_table",
    "check_output_folder",
    "default_folder",
    "evaluate",
    "run_evaluation",
    "write_evaluation",
]
