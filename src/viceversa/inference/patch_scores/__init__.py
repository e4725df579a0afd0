"""What a discriminator says of images, patch by patch, and pictures of it."""

from .explain import Answer, ExplainOptions, explain, named_model
from .figure import Row, verdict_sheet
from .patch_map import heat
from .scorer import Judge, look
from .scores import Verdict, on_one_scale, probability

__all__ = [
    "Answer", "ExplainOptions", "Judge", "Row", "Verdict", "explain", "heat", "look", "named_model",
    "on_one_scale", "probability", "verdict_sheet",
]  # fmt: skip
