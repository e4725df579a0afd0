"""Compute the answers to requests for patch maps."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from ..images import to_bytes
from ..images.domain import Domain
from ..images.header import Pixels
from ..images.values import to_pixels
from ..inference.patch_scores import ScoredTranslation, draw_patch_map, score_translation
from ..inference.pixels import to_network
from .models import ServedModel

SHOWN = 256  # maximum length in pixels of the longer side of enlarged maps


def score_each(model: ServedModel, images: Sequence[Pixels]) -> list[ScoredTranslation]:
    """Translate images, and score the results with the discriminator of the model's run."""
    translator, scorer = model.translator, model.scorer
    assert scorer is not None
    values = to_network(images, translator.source)
    return [score_translation(translator, scorer, one) for one in values]


def patch_map_answer(scored: ScoredTranslation) -> dict[str, Any]:
    """Return patch scores as JSON values, with the map as a PNG file in Base64."""
    image, scores = to_pixels(scored.image[None], Domain())[0], scored.scores
    height, width = image.shape[:2]
    times = max(1, SHOWN // max(height, width))
    drawn = draw_patch_map(image, scores, (times * height, times * width))
    return {
        **scores.summary(),
        "values": [[round(value, 4) for value in row] for row in scores.values.tolist()],
        "image": base64.b64encode(to_bytes(drawn, ".png")).decode(),
    }
