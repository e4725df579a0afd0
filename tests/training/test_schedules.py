"""The learning rate of each epoch, as the optimizers get it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from viceversa.config.train import TrainConfig
from viceversa.training.schedules import SCHEDULES
from viceversa.training.setup import set_learning_rates


def rates(epochs: int = 200, **train: Any) -> dict[str, list[float]]:
    """player -> its optimizer's rate in epochs 1, 2, ...; and what set_rates returns."""
    config = TrainConfig(epochs=epochs, **train)
    optimizers: dict[str, torch.optim.Optimizer] = {
        player: torch.optim.Adam([nn.Parameter(torch.zeros(1))])
        for player in ("generator", "discriminator")
    }
    seen: dict[str, list[float]] = {"returned": [], "generator": [], "discriminator": []}
    for epoch in range(1, epochs + 1):
        seen["returned"].append(set_learning_rates(optimizers, config, epoch))
        for player, optimizer in optimizers.items():
            seen[player].append(optimizer.param_groups[0]["lr"])
    return seen


def test_linear_is_the_reference_s() -> None:
    seen = rates(schedule="linear")["generator"]
    expected = [2e-4 * (1 - max(0, epoch - 100) / 101) for epoch in range(1, 201)]
    assert seen == pytest.approx(expected, rel=1e-12)
    published = {
        1: 2e-4, 100: 2e-4, 101: 1.9801980198e-4, 150: 1.0099009901e-4, 151: 9.9009900990e-5,
        200: 1.9801980198e-6,
    }  # fmt: skip
    assert {epoch: seen[epoch - 1] for epoch in published} == pytest.approx(published, rel=1e-9)


def test_linear_paper_begins_one_epoch_later() -> None:
    seen = rates(schedule="linear-paper")["generator"]
    assert seen[:101] == [2e-4] * 101
    assert seen[101:] == pytest.approx([2e-4 * (99 - i) / 100 for i in range(99)], rel=1e-9)
    assert seen[-1] == pytest.approx(2e-6)


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_cosine_falls_to_the_last_and_never_to_zero(decay: float) -> None:
    seen = rates(schedule="cosine", decay=decay)["generator"]
    full = round(200 * (1 - decay))
    assert seen[:full] == [2e-4] * full
    falling = [2e-4, *seen[full:]]
    assert all(after < before for before, after in pairwise(falling))
    assert 0 < seen[-1] < 2e-7
    middle = seen[full + (200 - full) // 2 - 1]
    assert middle == pytest.approx(1e-4, rel=0.02)


def test_constant_is_constant() -> None:
    assert rates(schedule="constant")["generator"] == [2e-4] * 200


def test_step_divides_by_ten_each_quarter() -> None:
    seen = rates(schedule="step")["generator"]
    expected = [2e-4] * 50 + [2e-5] * 50 + [2e-6] * 50 + [2e-7] * 50
    assert seen == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_player_may_have_its_own_rate(schedule: str) -> None:
    seen = rates(20, schedule=schedule, lr_per_network={"discriminator": 1e-4})
    assert seen["returned"] == seen["generator"]
    assert seen["discriminator"] == pytest.approx([rate / 2 for rate in seen["generator"]])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("epochs", "decay"), [(1, 0.0), (1, 0.5), (1, 1.0), (3, 0.0), (3, 1.0)])
def test_short_runs_learn_in_every_epoch(schedule: str, epochs: int, decay: float) -> None:
    seen = rates(epochs, schedule=schedule, decay=decay)["generator"]
    assert all(0 < rate <= 2e-4 for rate in seen)
    if not decay and schedule != "step":
        assert seen == [2e-4] * epochs
