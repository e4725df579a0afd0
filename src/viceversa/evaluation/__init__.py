"""A finished translator against a data set: numbers with their protocol, and the cases to see."""

from .evaluation import DirectionMetrics, Evaluation, measure
from .options import Options
from .words import table, values
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
