"""What a discriminator says of images, patch by patch, and pictures of it."""

from .explain import Answer, ExplainOptions, explain, named_model
from .heat import heat
from .judge import Judge, look
from .sheet import Row, verdict_sheet
from .verdict import Verdict, on_one_scale, probability

__all__ = [
    "Answer", "ExplainOptions", "Judge", "Row", "Verdict", "explain", "heat", "look", "named_model",
    "on_one_scale", "probability", "verdict_sheet",
]  # fmt: skip
