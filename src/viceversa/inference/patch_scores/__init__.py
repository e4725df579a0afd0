"""What a discriminator says of images, patch by patch, and pictures of it."""

from .explain import Answer, ExplainOptions, explain, named_model
from .figure import Row, draw_figure
from .patch_map import draw_patch_map
from .scorer import PatchScorer, look
from .scores import PatchScores, on_common_scale, probability

__all__ = [
    "Answer",
    "ExplainOptions",
    "PatchScorer",
    "PatchScores",
    "Row",
    "draw_figure",
    "draw_patch_map",
    "explain",
    "look",
    "named_model",
    "on_common_scale",
    "probability",
]  # fmt: skip
