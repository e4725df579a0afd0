"""Patch scores: which parts of an image a discriminator classifies as real or fake."""

from .explain import ExplainOptions, Explanation, explain
from .figure import Row, draw_figure
from .patch_map import draw_patch_map
from .scorer import PatchScorer
from .scores import PatchScores, on_common_scale, to_unit_range
from .translated import ScoredTranslation, discriminator_of, load_scorer, score_translation

__all__ = [
    "ExplainOptions",
    "Explanation",
    "PatchScorer",
    "PatchScores",
    "Row",
    "ScoredTranslation",
    "discriminator_of",
    "draw_figure",
    "draw_patch_map",
    "explain",
    "load_scorer",
    "on_common_scale",
    "score_translation",
    "to_unit_range",
]
