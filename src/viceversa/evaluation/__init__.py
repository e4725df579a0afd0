"""Evaluation of a trained model on a dataset: metrics with their protocol, and a page of cases."""

from .options import EvaluationOptions
from .results import DirectionMetrics, Evaluation, as_json, as_table
from .run import check_output_folder, evaluate, run_evaluation, write_evaluation

__all__ = [
    "DirectionMetrics",
    "Evaluation",
    "EvaluationOptions",
    "as_json",
    "as_table",
    "check_output_folder",
    "evaluate",
    "run_evaluation",
    "write_evaluation",
]
