"""Learning rate schedules: the factor on the learning rate in an epoch, counted from 1."""

from __future__ import annotations

import math
from collections.abc import Callable


def constant(epoch: int, epochs: int, decay_epochs: int) -> float:
    """Return 1 (pix2pix, sec. 3.3)."""
    return 1.0


def linear(epoch: int, epochs: int, decay_epochs: int) -> float:
    """Return 1, then a linear decay over the last epochs, which stays above 0.

    The rule of the reference implementation: with 100 + 100 epochs, epoch 101 has 100/101 and epoch
    200 has 1/101.
    """
    return 1.0 - max(0, epoch - (epochs - decay_epochs)) / (decay_epochs + 1)


def linear_paper(epoch: int, epochs: int, decay_epochs: int) -> float:
    """Return the factor of the authors' first code: one epoch later, down to 1/decay_epochs."""
    return 1.0 - max(0, epoch - (epochs - decay_epochs) - 1) / max(1, decay_epochs)


def cosine(epoch: int, epochs: int, decay_epochs: int) -> float:
    """Return 1, then half a cosine over the last epochs, which stays above 0 (SGDR, eq. 5)."""
    done = max(0, epoch - (epochs - decay_epochs)) / (decay_epochs + 1)
    return 0.5 * (1.0 + math.cos(math.pi * done))


def step(epoch: int, epochs: int, decay_epochs: int) -> float:
    """Return a tenth of the previous factor in each quarter of the epochs."""
    return 0.1 ** ((epoch - 1) * 4 // epochs)


SCHEDULES: dict[str, Callable[[int, int, int], float]] = {
    "constant": constant,
    "linear": linear,
    "linear-paper": linear_paper,
    "cosine": cosine,
    "step": step,
}
