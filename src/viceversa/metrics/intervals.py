"""Confidence intervals of means."""

from __future__ import annotations

import torch
from torch import Tensor


def bootstrap(
    values: Tensor, seed: int = 0, level: float = 0.95, draws: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron 1979).

    It describes how the mean varies with other images of the same kind, not with other training
    seeds.

    Args:
        values: (n,). The interval of one value is that value.
        seed: Seed of the draws.
        level: Probability that the interval covers the mean.
        draws: Number of samples of n values, drawn with replacement.

    Raises:
        ValueError: There are no values.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"an interval needs values (n,), not {tuple(values.shape)}")
    numbers = values.double().cpu()
    generator = torch.Generator().manual_seed(seed)

    def mean() -> Tensor:  # one draw at a time: all of them at once need draws x n values
        return numbers[torch.randint(len(numbers), (len(numbers),), generator=generator)].mean()

    means = torch.stack([mean() for _ in range(draws)])
    tail = (1 - level) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=means.dtype)).tolist()
    return low, high
