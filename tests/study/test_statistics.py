"""Statistics over groups, worked by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test

from viceversa.study.statistics import deviation, holm, mean_interval, p_value

OWN = {name: name for name in "abcdefghijklmnopqrstuvwxyz"}


def test_the_sign_flip_test_by_hand() -> None:
    # Signs of (3, 2, 1): sums 6, 0, 2, 4 and their opposites; 6 and -6 are as large as 6: 2 of 8.
    assert p_value({"a": 3, "b": 2, "c": 1}, OWN) == 2 / 8
    # The sum of (3, -2, 1) is 2: of |6|, |0|, |2|, |4|, three are at least 2: 6 of 8.
    assert p_value({"a": 3, "b": -2, "c": 1}, OWN) == 6 / 8
    assert p_value({"a": 0, "b": 0}, OWN) == 1.0
    assert p_value({"a": 5}, OWN) == 1.0


def test_images_of_a_group_have_one_sign() -> None:
    values = {"a": 3.0, "b": 2.0, "c": 1.0, "d": 1.0}
    groups = {"a": "x", "b": "x", "c": "y", "d": "y"}
    # Groups (5, 2): sums 7, 3 and their opposites: 2 of 4. Single images: 2 of 16.
    assert p_value(values, groups) == 2 / 4
    assert p_value(values, OWN) == 2 / 16


@pytest.mark.slow
@pytest.mark.parametrize("count", [8, 30])
def test_p_values_agree_with_scipy(count: int) -> None:
    drawn = np.random.default_rng(0)
    values = drawn.normal(0.4, 1, count)
    names = [f"g{i}" for i in range(count)]
    own = p_value(dict(zip(names, values, strict=True)), {name: name for name in names})
    theirs = permutation_test(
        (values, np.zeros(count)),
        lambda x, y: np.mean(x - y),
        permutation_type="samples",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    assert own == pytest.approx(theirs.pvalue, abs=1e-9 if count == 8 else 0.01)


def test_the_interval_of_groups_by_hand() -> None:
    # Groups x (sum 4 of 2 images) and y (sum 0 of 1): the draws xx, xy, yx, yy have the means
    # 2, 4/3, 4/3, 0; each end of the 95 % interval is an extreme.
    groups = {"a": "x", "b": "x", "c": "y"}
    assert mean_interval({"a": 1.0, "b": 3.0, "c": 0.0}, groups) == (0.0, 2.0)
    assert mean_interval({"a": 1.0, "b": 3.0}, groups) == (2.0, 2.0)  # one group


def test_few_groups_have_a_wider_interval_than_their_images() -> None:
    drawn = np.random.default_rng(0)
    values = {f"{g} {i}": float(g + drawn.normal(0, 0.1)) for g in range(6) for i in range(20)}
    widths = [
        high - low
        for low, high in (
            mean_interval(values, {name: name.split()[0] for name in values}),
            mean_interval(values, {name: name for name in values}),
        )
    ]
    assert widths[0] > 3 * widths[1]


def test_the_order_of_images_does_not_matter() -> None:
    values = {name: float(ord(name) % 7) for name in OWN}
    back = dict(reversed(values.items()))
    assert mean_interval(values, OWN) == mean_interval(back, OWN)
    assert p_value(values, OWN) == p_value(back, OWN)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(0)
    names = [f"{i}" for i in range(40)]
    covered = 0
    for _ in range(60):
        values = dict(zip(names, drawn.normal(1.0, 1.0, 40).tolist(), strict=True))
        low, high = mean_interval(values, {name: name for name in names})
        covered += low <= 1.0 <= high
    assert 51 <= covered <= 60


def test_holm_by_hand() -> None:
    # Sorted: 0.01 x 3 = 0.03, 0.02 x 2 = 0.04, 0.04 x 1 = 0.04.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    for values in itertools.product([0.001, 0.02, 0.3], repeat=3):
        assert all(c >= v for c, v in zip(holm(values), values, strict=True))


def test_deviation() -> None:
    assert deviation([1.0, 3.0]) == pytest.approx(2**0.5)
    assert deviation([1.0]) is None
