"""Patch scores: the score map of a discriminator for one image, and its values from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ...networks.patch_grid import PatchGrid

Position = tuple[int, int]  # row and column in a map
Limits = tuple[float, float]

UNBOUNDED = "the score between the lowest and the highest of this figure: no probability"
# objective -> meaning of its values from 0 to 1
MEANINGS = {
    # Both have D = p(real) / (p(real) + p(fake)) as their optimum (GAN, prop. 1; LSGAN, eq. 5).
    "bce": "the probability that it is real",
    "lsgan": "the probability that it is real (the score, clipped to 0 and 1)",
    # No probabilities: hinge pushes scores beyond margins, those of a critic have no zero.
    "hinge": "the score between the margins of the hinge, -1 and 1: no probability",
    "wgan-gp": UNBOUNDED,
}
LIMITS: dict[str, Limits] = {"lsgan": (0.0, 1.0), "hinge": (-1.0, 1.0)}  # scores that map to 0, 1


def to_unit_range(scores: Tensor, objective: str, limits: Limits | None = None) -> Tensor:
    """Map scores to values from 0 (fake) to 1 (real); MEANINGS says what they are.

    Args:
        scores: Scores of a discriminator, of any shape.
        objective: Name of the objective that it was trained with.
        limits: For objectives with unbounded scores: those that map to 0 and 1. By default the
            lowest and the highest; if they are equal, all values are 0.5.

    Returns:
        float32, the same shape.
    """
    scores = scores.detach().float()
    if objective == "bce":
        return scores.sigmoid()
    low, high = LIMITS.get(objective) or limits or (float(scores.min()), float(scores.max()))
    return ((scores - low) / (high - low)).clamp(0, 1) if high > low else scores * 0 + 0.5


@dataclass(frozen=True)
class PatchScores:
    """Scores of the patches of one image."""

    scores: Tensor
    """(rows, columns) logits, in float32 on the CPU."""
    grid: PatchGrid
    """The pixels that each score depends on."""
    objective: str
    """Name of the objective that the discriminator was trained with."""
    limits: Limits | None = None
    """Scores that map to 0 and 1 if the objective does not define them: see `on_common_scale`."""

    @property
    def values(self) -> Tensor:
        """(rows, columns) from 0 (fake) to 1 (real)."""
        return to_unit_range(self.scores, self.objective, self.limits)

    @property
    def mean_score(self) -> float:
        """Mean of the scores: the score of the same discriminator with `whole_image`."""
        return float(self.scores.mean())

    @property
    def mean_value(self) -> float:
        """Value of the mean score, from 0 (fake) to 1 (real)."""
        limits = self.limits or (float(self.scores.min()), float(self.scores.max()))
        return float(to_unit_range(self.scores.mean(), self.objective, limits))

    @property
    def real_fraction(self) -> float | None:
        """Fraction of patches classified as real; None if the scores have no decision threshold."""
        return None if self.meaning is UNBOUNDED else float((self.values > 0.5).float().mean())

    @property
    def lowest(self) -> Position:
        """Position of the lowest score."""
        return self._position(int(self.scores.argmin()))

    @property
    def highest(self) -> Position:
        """Position of the highest score."""
        return self._position(int(self.scores.argmax()))

    @property
    def is_single(self) -> bool:
        """Whether there is one score for the whole image."""
        return self.scores.numel() == 1

    @property
    def meaning(self) -> str:
        """Meaning of the values."""
        return MEANINGS.get(self.objective, UNBOUNDED)

    def summary(self) -> dict[str, Any]:
        """Return the objective, the means, and the sizes of map and patches as JSON values."""
        grid = self.grid
        return {
            "objective": self.objective,
            "meaning": self.meaning,
            "mean_value": self.mean_value,
            "mean_score": self.mean_score,
            "real_fraction": self.real_fraction,
            "map": [grid.rows, grid.columns],
            "patch": None if self.is_single else {"size": grid.size, "stride": grid.stride},
        }

    def _position(self, index: int) -> Position:
        return divmod(index, self.scores.shape[1])


def on_common_scale(*images: PatchScores) -> list[PatchScores]:
    """Return scores of one discriminator with common limits, so that values can be compared."""
    low = min(float(one.scores.min()) for one in images)
    high = max(float(one.scores.max()) for one in images)
    return [replace(one, limits=(low, high)) for one in images]
