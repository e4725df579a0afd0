"""Statistics over images in groups: means, intervals, and tests of differences.

The unit is the group (a patient, a slide, a scene): its images are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

DRAWS = 2000  # of the bootstrap
SIGNS = 10_000  # drawn by the test if there are too many groups for all of them
EXACT_GROUPS = 13  # most groups for which the test counts all 2^n signs
LEVEL = 0.95
Group = str
Image = str


def mean_interval(
    values: Mapping[Image, float], groups: Mapping[Image, Group], seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over images (Efron 1979).

    Whole groups are drawn with replacement. The interval of one group is its mean.

    Args:
        values: A value per image.
        groups: The group of each image.
        seed: Seed of the draws.
    """
    sums, counts = _by_group(values, groups)
    drawn = np.random.default_rng(seed)
    means = []
    for rows in _parts(DRAWS, len(sums)):
        chosen = drawn.integers(len(sums), size=(rows, len(sums)))
        means.append(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def p_value(
    differences: Mapping[Image, float], groups: Mapping[Image, Group], seed: int = 0
) -> float:
    """Return the two-sided p-value of a paired difference: a sign-flip test over groups.

    If two variants are equally good, each group could as well have the opposite difference. The
    p-value is the fraction of all choices of signs whose mean difference is at least as large (of
    10,000 random ones for more than 13 groups; then it is at least 1e-4).

    Args:
        differences: Difference of each image.
        groups: The group of each image.
        seed: Seed of the random signs.
    """
    sums, _ = _by_group(differences, groups)
    count, observed = len(sums), abs(sums.sum()) * (1 - 1e-12)
    if count <= EXACT_GROUPS:
        bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
        return float((abs((1 - 2 * bits) @ sums) >= observed).mean())
    drawn = np.random.default_rng(seed)
    larger = 0
    for rows in _parts(SIGNS, count):
        signs = 2.0 * drawn.integers(2, size=(rows, count)) - 1
        larger += int((abs(signs @ sums) >= observed).sum())
    return (1 + larger) / (1 + SIGNS)


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979)."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    corrected, largest = [0.0] * len(values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = largest
    return corrected


def deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation of a sample; None of fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _parts(draws: int, count: int) -> Iterator[int]:
    """Divide a number of draws into parts of at most 4 million numbers."""
    most = max(1, 4_000_000 // count)
    while draws > 0:
        yield min(most, draws)
        draws -= most


def _by_group(
    values: Mapping[Image, float], groups: Mapping[Image, Group]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of the values and the number of images of each group."""
    sums: dict[Group, list[float]] = {}
    for image in sorted(values):
        sums.setdefault(groups[image], []).append(values[image])
    return np.array([sum(one) for one in sums.values()]), np.array([len(o) for o in sums.values()])
