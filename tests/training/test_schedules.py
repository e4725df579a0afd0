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


def learning_rates(epochs: int = 200, **train: Any) -> dict[str, list[float]]:
    """Return the lr of each player in epochs 1, 2, ..., and the result of set_learning_rates."""
    config = TrainConfig(epochs=epochs, **train)
    optimizers: dict[str, torch.optim.Optimizer] = {
        player: torch.optim.Adam([nn.Parameter(torch.zeros(1))])
        for player in ("generator", "discriminator")
    }
    lrs: dict[str, list[float]] = {"returned": [], "generator": [], "discriminator": []}
    for epoch in range(1, epochs + 1):
        lrs["returned"].append(set_learning_rates(optimizers, config, epoch))
        for player, optimizer in optimizers.items():
            lrs[player].append(optimizer.param_groups[0]["lr"])
    return lrs


def test_linear_equals_the_reference_implementation() -> None:
    lrs = learning_rates(schedule="linear")["generator"]
    expected = [2e-4 * (1 - max(0, epoch - 100) / 101) for epoch in range(1, 201)]
    assert lrs == pytest.approx(expected, rel=1e-12)
    published = {
        1: 2e-4,
        100: 2e-4,
        101: 1.9801980198e-4,
        150: 1.0099009901e-4,
        151: 9.9009900990e-5,
        200: 1.9801980198e-6,
    }
    assert {epoch: lrs[epoch - 1] for epoch in published} == pytest.approx(published, rel=1e-9)


def test_linear_paper_starts_to_decay_one_epoch_later() -> None:
    lrs = learning_rates(schedule="linear-paper")["generator"]
    assert lrs[:101] == [2e-4] * 101
    assert lrs[101:] == pytest.approx([2e-4 * (99 - i) / 100 for i in range(99)], rel=1e-9)
    assert lrs[-1] == pytest.approx(2e-6)


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_cosine_decays_in_every_epoch_and_never_reaches_zero(decay: float) -> None:
    lrs = learning_rates(schedule="cosine", decay=decay)["generator"]
    full = round(200 * (1 - decay))
    assert lrs[:full] == [2e-4] * full
    decaying = [2e-4, *lrs[full:]]
    assert all(after < before for before, after in pairwise(decaying))
    assert 0 < lrs[-1] < 2e-7
    middle = lrs[full + (200 - full) // 2 - 1]
    assert middle == pytest.approx(1e-4, rel=0.02)


def test_constant_is_constant() -> None:
    assert learning_rates(schedule="constant")["generator"] == [2e-4] * 200


def test_step_divides_by_ten_each_quarter() -> None:
    lrs = learning_rates(schedule="step")["generator"]
    expected = [2e-4] * 50 + [2e-5] * 50 + [2e-6] * 50 + [2e-7] * 50
    assert lrs == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_player_may_have_its_own_lr(schedule: str) -> None:
    lrs = learning_rates(20, schedule=schedule, lr_per_network={"discriminator": 1e-4})
    assert lrs["returned"] == lrs["generator"]
    assert lrs["discriminator"] == pytest.approx([lr / 2 for lr in lrs["generator"]])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("epochs", "decay"), [(1, 0.0), (1, 0.5), (1, 1.0), (3, 0.0), (3, 1.0)])
def test_short_runs_have_a_positive_lr_in_every_epoch(
    schedule: str, epochs: int, decay: float
) -> None:
    lrs = learning_rates(epochs, schedule=schedule, decay=decay)["generator"]
    assert all(0 < lr <= 2e-4 for lr in lrs)
    if not decay and schedule != "step":
        assert lrs == [2e-4] * epochs
