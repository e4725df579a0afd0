"""Order of the samples of an epoch: it depends only on (seed, epoch, position)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Position = tuple[int, int]
"""Epoch (from 1), and position in it."""
ORDER, CROP, ITEM = 0, 1, 2  # separate streams of random numbers


def epoch_length(lengths: tuple[int, int], paired: bool) -> int:
    """Return the number of samples of an epoch: pairs, or images of the larger domain.

    Args:
        lengths: Number of source images and of target images.
        paired: Whether source and target of an index are a pair.
    """
    return lengths[0] if paired else max(lengths)


def sample_indices(
    seed: int, lengths: tuple[int, int], paired: bool, training: bool, position: Position
) -> tuple[int, int]:
    """Return the index of the source and of the target at a position.

    Paired: the pairs in a random order. Unpaired: the sources in a random order, and a target drawn
    at random for each (as in the loader of CycleGAN). Without training: in the order of the data.

    Args:
        seed: Seed of the order.
        lengths: Number of source images and of target images.
        paired: Whether source and target of an index are a pair.
        training: Whether samples are shuffled.
        position: Epoch and position.
    """
    (sources, targets), (epoch, number) = lengths, position
    if not training:
        return number % sources, number % targets
    source = int(_order(seed, epoch, sources, epoch_length(lengths, paired))[number])
    if paired:
        return source, source
    rng = np.random.default_rng((seed, ORDER, epoch, number))
    return source, int(rng.integers(targets))


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, sources: int, length: int) -> NDArray[np.int64]:
    """Return the source index at each position: random permutations, one after the other."""
    rng = np.random.default_rng((seed, ORDER, epoch))
    permutations = [rng.permutation(sources) for _ in range(-(-length // sources))]
    return np.concatenate(permutations)[:length]
