"""How sure a mean over images is."""

from __future__ import annotations

import torch
from torch import Tensor


def bootstrap(
    values: Tensor, seed: int = 0, share: float = 0.95, draws: int = 2000
) -> tuple[float, float]:
    """The interval that holds the mean of values (n,) with the probability `share`: percentiles of
    the means of `draws` samples of n, drawn with replacement (Efron 1979).

    Says how the mean would vary with other images of the kind; not how it would with another
    seed of training. Of one value it is that value twice. Raises ValueError for none.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"an interval needs values (n,), not {tuple(values.shape)}")
    numbers = values.double().cpu()
    generator = torch.Generator().manual_seed(seed)
    # A draw at a time: all of them at once would be draws x n numbers.
    means = torch.stack([
        numbers[torch.randint(len(numbers), (len(numbers),), generator=generator)].mean()
        for _ in range(draws)
    ])  # fmt: skip
    tail = (1 - share) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=means.dtype)).tolist()
    return low, high
