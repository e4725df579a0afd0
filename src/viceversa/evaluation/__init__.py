"""A finished translator against a data set: numbers with their protocol, and the cases to see."""

from .options import Options
from .results import table, values
from .run import DirectionMetrics, Evaluation, measure
from .written import evaluate, refuse_place, write_evaluation

__all__ = [
    "DirectionMetrics",
    "Evaluation",
    "Options",
    "evaluate",
    "measure",
    "refuse_place",
    "table",
    "values",
    "write_evaluation",
]  # fmt: skip
