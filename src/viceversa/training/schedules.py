"""Learning rates by epoch: the factor on the rate, for epochs counted from 1."""

from __future__ import annotations

import math
from collections.abc import Callable


def constant(epoch: int, epochs: int, decay_epochs: int) -> float:
    """Always 1 (pix2pix, sec. 3.3)."""
    return 1.0


def linear(epoch: int, epochs: int, decay_epochs: int) -> float:
    """1, then down in a line over the last epochs; the last one still learns a little.

    The reference's rule: with 100 + 100, epoch 101 has 100/101 and epoch 200 has 1/101.
    """
    return 1.0 - max(0, epoch - (epochs - decay_epochs)) / (decay_epochs + 1)


def linear_paper(epoch: int, epochs: int, decay_epochs: int) -> float:
    """As the authors' first code: the line begins one epoch later, and ends at 1/decay_epochs."""
    return 1.0 - max(0, epoch - (epochs - decay_epochs) - 1) / max(1, decay_epochs)


def cosine(epoch: int, epochs: int, decay_epochs: int) -> float:
    """1, then half a cosine over the last epochs, above 0 to the last (SGDR, eq. 5)."""
    done = max(0, epoch - (epochs - decay_epochs)) / (decay_epochs + 1)
    return 0.5 * (1.0 + math.cos(math.pi * done))


def step(epoch: int, epochs: int, decay_epochs: int) -> float:
    """Each quarter of the epochs a tenth of the one before (with 200: at 51, 101, 151)."""
    return 0.1 ** ((epoch - 1) * 4 // epochs)


SCHEDULES: dict[str, Callable[[int, int, int], float]] = {
    "constant": constant,
    "linear": linear,
    "linear-paper": linear_paper,
    "cosine": cosine,
    "step": step,
}
