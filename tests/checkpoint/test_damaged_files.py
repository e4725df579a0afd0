"""Damaged files are never loaded as if they were intact (promise C3)."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from damaged_files import (
    DamagedCheckpoint,
    DamagedModel,
    DamagedSafetensors,
    bit_flips,
    count_outcomes,
    header_flips,
    truncations,
    zeroed_pages,
)

KINDS = {"state": DamagedCheckpoint, "model": DamagedModel}


@pytest.fixture(params=KINDS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> DamagedCheckpoint | DamagedModel:
    return KINDS[request.param](tmp_path)


def check_damage(file: DamagedCheckpoint | DamagedModel, count: int) -> None:
    for damage in (
        bit_flips(file.content, 10 * count, 1),
        zeroed_pages(file.content, count, 2),
        truncations(file.content, count, 3),
    ):
        counts = count_outcomes(file.outcome, damage)
        assert counts["wrong"] == 0, counts
        assert counts["refused"] > 0.99 * sum(counts.values()), counts
    assert file.outcome(file.content) == "same"  # the intact file is loaded


@pytest.mark.slow
def test_damage_is_detected(file: DamagedCheckpoint | DamagedModel) -> None:
    check_damage(file, 50)


@pytest.mark.soak
def test_more_damage_is_detected(file: DamagedCheckpoint | DamagedModel) -> None:
    check_damage(file, 1000)


@pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.soak), pytest.param(11, marks=pytest.mark.slow)]
)
def test_every_flipped_bit_of_a_header_is_detected_or_irrelevant(
    every: int, file: DamagedCheckpoint | DamagedModel
) -> None:
    counts = count_outcomes(
        file.outcome, itertools.islice(header_flips(file.content), 0, None, every)
    )
    assert counts["wrong"] == 0, counts
    assert counts["refused"] > 0.98 * sum(counts.values()), counts


def test_control_safetensors_alone_does_not_detect_damage(tmp_path: Path) -> None:
    file = DamagedSafetensors(tmp_path)
    counts = count_outcomes(file.outcome, bit_flips(file.content, 200, 1))
    assert counts["wrong"] > 180, counts
