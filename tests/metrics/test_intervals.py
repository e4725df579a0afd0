"""Intervals of a mean."""

from __future__ import annotations

import pytest
import torch

from viceversa.metrics.intervals import bootstrap


def test_an_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    # 400 samples of 40 from a skewed distribution of mean 1; percentiles cover a little less
    draws = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(400):
        values = -torch.rand(40, generator=draws).log()
        low, high = bootstrap(values, level=0.9, draws=300)
        held += low <= 1 <= high
    assert 0.83 < held / 400 < 0.93


def test_it_narrows_with_the_root_of_the_number() -> None:
    values = torch.rand(1600, generator=torch.Generator().manual_seed(1))
    few, many = (bootstrap(values[:n]) for n in (100, 1600))
    assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(4, rel=0.25)
    # normal theory: 2 x 1.96 x deviation / sqrt(n)
    assert many[1] - many[0] == pytest.approx(3.92 * float(values.std()) / 40, rel=0.1)


def test_edges() -> None:
    assert bootstrap(torch.tensor([0.25])) == (0.25, 0.25)
    assert bootstrap(torch.full((9,), 2.0)) == (2.0, 2.0)
    with pytest.raises(ValueError, match="needs values"):
        bootstrap(torch.empty(0))


def test_it_depends_on_the_seed_alone() -> None:
    values = torch.rand(30, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = bootstrap(values)
    assert torch.equal(torch.rand(2), expected)
    assert bootstrap(values) == first != bootstrap(values, seed=1)
    narrow, wide = (bootstrap(values, level=level) for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < float(values.mean()) < narrow[1] < wide[1]
