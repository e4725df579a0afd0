"""A verdict: the discriminator's map of an image, as numbers from 0 (made) to 1 (real)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ...networks.patch_grid import PatchGrid

Place = tuple[int, int]  # row and column in a map

UNBOUNDED = "the score between the lowest and the highest in this picture: no probability"
# objective -> what its number from 0 to 1 is
MEANINGS = {
    # Both have D = p(real) / (p(real) + p(made)) as their optimum (GAN, prop. 1; LSGAN, eq. 5).
    "bce": "the probability that it is real",
    "lsgan": "the probability that it is real (the score, cut off below 0 and above 1)",
    # No probabilities: hinge pushes scores beyond margins, a critic's have no zero.
    "hinge": "the score between the margins of the hinge, -1 and 1: no probability",
    "wgan-gp": UNBOUNDED,
}
SPANS = {"lsgan": (0.0, 1.0), "hinge": (-1.0, 1.0)}  # scores that become 0 and 1


def probability(scores: Tensor, objective: str, span: tuple[float, float] | None = None) -> Tensor:
    """A discriminator's scores (any shape) as numbers from 0 (made) to 1 (real), in float32.

    What they mean stands in MEANINGS. `span`: for `wgan-gp`, the scores that become 0 and 1; by
    default the lowest and the highest; where those are one, all is 0.5.
    """
    scores = scores.detach().float()
    if objective == "bce":
        return scores.sigmoid()
    low, high = SPANS.get(objective) or span or (float(scores.min()), float(scores.max()))
    return ((scores - low) / (high - low)).clamp(0, 1) if high > low else scores * 0 + 0.5


@dataclass(frozen=True)
class PatchScores:
    """What a discriminator says of one image."""

    scores: Tensor
    """(rows, columns) logits, in float32 on the CPU."""
    patches: PatchGrid
    """What each of them rests on."""
    objective: str
    """Name of the objective it was trained with, which gives scores their meaning."""
    span: tuple[float, float] | None = None
    """For `wgan-gp`: the scores that become 0 and 1, see `on_common_scale`."""

    @property
    def map(self) -> Tensor:
        """(rows, columns) from 0 (made) to 1 (real)."""
        return probability(self.scores, self.objective, self.span)

    @property
    def score(self) -> float:
        """The map averaged to one number: all that `discriminator.whole_image` would have left."""
        return float(self.scores.mean())

    @property
    def whole(self) -> float:
        """That one number, from 0 (made) to 1 (real)."""
        span = self.span or (float(self.scores.min()), float(self.scores.max()))
        return float(probability(self.scores.mean(), self.objective, span))

    @property
    def share(self) -> float | None:
        """The share of patches taken for real; None for a critic, whose scores have no middle."""
        return None if self.meaning is UNBOUNDED else float((self.map > 0.5).float().mean())

    @property
    def least(self) -> Place:
        """The least convincing patch."""
        return self._place(int(self.scores.argmin()))

    @property
    def most(self) -> Place:
        """The most convincing patch."""
        return self._place(int(self.scores.argmax()))

    @property
    def one_number(self) -> bool:
        """Whether there is no map: one number rests on the whole image."""
        return self.scores.numel() == 1

    @property
    def meaning(self) -> str:
        """What a number from 0 to 1 is."""
        return MEANINGS.get(self.objective, UNBOUNDED)

    def _place(self, number: int) -> Place:
        return divmod(number, self.scores.shape[1])


def on_common_scale(*verdicts: PatchScores) -> list[PatchScores]:
    """Verdicts of one discriminator to compare: a critic's scores between their common ends."""
    low = min(float(one.scores.min()) for one in verdicts)
    high = max(float(one.scores.max()) for one in verdicts)
    return [replace(one, span=(low, high)) for one in verdicts]
