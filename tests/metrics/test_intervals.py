"""Test bootstrap confidence intervals of a mean."""

from __future__ import annotations

import pytest
import torch

from viceversa.metrics.intervals import bootstrap


@pytest.mark.slow
def test_interval_covers_the_true_mean_at_its_level() -> None:
    # 400 samples of 40 from an exponential distribution of mean 1, for which the percentile
    # bootstrap covers slightly less than the level.
    draws = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(400):
        values = -torch.rand(40, generator=draws).log()
        low, high = bootstrap(values, level=0.9, draws=300)
        covered += low <= 1 <= high
    assert 0.83 < covered / 400 < 0.93


def test_width_decreases_with_the_root_of_the_number_of_values() -> None:
    values = torch.rand(1600, generator=torch.Generator().manual_seed(1))
    few, many = (bootstrap(values[:n]) for n in (100, 1600))
    assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(4, rel=0.25)
    # Normal distribution: 2 x 1.96 x deviation / sqrt(n).
    assert many[1] - many[0] == pytest.approx(3.92 * float(values.std()) / 40, rel=0.1)


def test_single_constant_and_no_values() -> None:
    assert bootstrap(torch.tensor([0.25])) == (0.25, 0.25)
    assert bootstrap(torch.full((9,), 2.0)) == (2.0, 2.0)
    with pytest.raises(ValueError, match="needs values"):
        bootstrap(torch.empty(0))


def test_interval_depends_only_on_the_seed() -> None:
    values = torch.rand(30, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = bootstrap(values)
    assert torch.equal(torch.rand(2), expected)
    assert bootstrap(values) == first != bootstrap(values, seed=1)
    narrow, wide = (bootstrap(values, level=level) for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < float(values.mean()) < narrow[1] < wide[1]
