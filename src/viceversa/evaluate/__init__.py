"""A finished translator against a data set: numbers with their protocol, and the cases to see."""

from .evaluation import Evaluation, Way, evaluate
from .options import Options
from .words import table, values

__all__ = ["Evaluation", "Options", "Way", "evaluate", "table", "values"]
