"""What rots on a disk is never loaded as if it were whole (promise C3)."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from rot import Bare, Kept, Model, cuts, flips, header_flips, pages, tally

FILES = {"state": Kept, "model": Model}


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Kept | Model:
    return FILES[request.param](tmp_path)


def rots(file: Kept | Model, count: int) -> None:
    for damage in (flips(file.whole, 10 * count, 1), pages(file.whole, count, 2),
                   cuts(file.whole, count, 3)):  # fmt: skip
        counts = tally(file.outcome, damage)
        assert counts["wrong"] == 0, counts
        assert counts["refused"] > 0.99 * sum(counts.values()), counts
    assert file.outcome(file.whole) == "same"  # ... and what is whole is loaded


def test_some_damage_is_seen(file: Kept | Model) -> None:
    rots(file, 50)


@pytest.mark.soak
def test_all_damage_is_seen(file: Kept | Model) -> None:
    rots(file, 1000)


@pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.soak), pytest.param(11, marks=pytest.mark.slow)]
)
def test_every_bit_of_a_header_counts_or_means_nothing(every: int, file: Kept | Model) -> None:
    counts = tally(file.outcome, itertools.islice(header_flips(file.whole), 0, None, every))
    assert counts["wrong"] == 0, counts
    assert counts["refused"] > 0.98 * sum(counts.values()), counts


def test_the_format_alone_does_not_see_it(tmp_path: Path) -> None:
    file = Bare(tmp_path)
    counts = tally(file.outcome, flips(file.whole, 200, 1))
    assert counts["wrong"] > 180, counts
