"""EMA weights of the generators: formula, files, non-finite steps, resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monitored_runs import METHODS, NEVER, lines, noise_splits, settings
from support import checkpoint_state, identical, inject_non_finite, values
from torch import nn

from viceversa.checkpoint import read_header, read_weights
from viceversa.errors import UserError
from viceversa.networks.norms import BatchNorm
from viceversa.training import loop as training
from viceversa.training.ema import EMA


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_splits(tmp_path_factory.mktemp("ema"))


def one_weight(value: float) -> nn.Linear:
    network = nn.Linear(1, 1, bias=False).double()
    network.weight.data.fill_(value)
    return network


def ema_weight(ema: EMA) -> float:
    return float(next(ema.networks()["ab"].parameters()).detach())


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        # decay of steps 1, 2, 3: 1/10, 2/11, 3/12, or `decay` if that is lower
        (0.999, (0.1 * 1 + 0.9 * 2, 2 / 11 * 1.9 + 9 / 11 * 3, 0.25 * 2.8 + 0.75 * 5)),
        (0.15, (1.9, 0.15 * 1.9 + 0.85 * 3, 0.15 * 2.835 + 0.85 * 5)),
    ],
)
def test_three_steps_by_hand(decay: float, expected: tuple[float, ...]) -> None:
    network = one_weight(1.0)
    ema = EMA({"ab": network}, decay)
    assert ema_weight(ema) == 1.0
    for weight, value in zip((2.0, 3.0, 5.0), expected, strict=True):
        network.weight.data.fill_(weight)
        ema.update()
        assert ema_weight(ema) == pytest.approx(value, abs=1e-12)
    assert network.weight.item() == 5.0 and ema.steps == 3


def test_after_many_steps_the_decay_is_the_option() -> None:
    network = one_weight(0.0)
    ema = EMA({"ab": network}, 0.5)
    for _ in range(20):
        ema.update()
    network.weight.data.fill_(1.0)
    ema.update()
    assert ema_weight(ema) == 0.5


def test_running_statistics_are_copied_and_not_averaged() -> None:
    network = BatchNorm(2)
    ema = EMA({"ab": network}, 0.9)
    network.train()
    network(torch.randn(4, 2, 5, 5) * 3 + 7)
    network.weight.data.fill_(3.0)
    ema.update()
    kept = ema.networks()["ab"]
    assert torch.equal(kept.running_mean, network.running_mean)  # type: ignore[arg-type]
    assert float(network.running_mean.abs().min()) > 0.1
    assert torch.allclose(kept.weight, torch.tensor([2.8, 2.8]))  # type: ignore[arg-type]
    with torch.no_grad():
        kept.weight.zero_()  # type: ignore[operator, union-attr]
    assert network.weight[0].item() == 3.0 and ema.state()["kept"]["ab"]["weight"][0] > 2


def test_resuming_without_saved_ema_starts_from_the_weights() -> None:
    network = one_weight(1.0)
    ema = EMA({"ab": network}, 0.9)
    network.weight.data.fill_(4.0)
    ema.restore({})
    assert ema_weight(ema) == 4.0 and ema.steps == 0
    other = EMA({"ab": one_weight(9.0)}, 0.9)
    ema.steps = 17
    other.restore(ema.state())
    assert ema_weight(other) == 4.0 and other.steps == 17


# -- complete runs


@pytest.mark.parametrize("name", METHODS)
def test_ema_models_are_saved_and_validated_besides_the_raw_ones(
    name: str, data: Path, tmp_path: Path
) -> None:
    more: dict[str, dict[str, Any]] = {"train": {"ema": 0.8, "lr": 1e-2}, "validate": {"every": 6}}
    run = training.train(settings(name, data, tmp_path / "run", **more))
    kept = checkpoint_state(run)["monitor"]["ema"]["kept"]
    for direction in {"pix2pix": ("ab",), "cyclegan": ("ab", "ba")}[name]:
        files = {folder: run / folder / f"{direction}.safetensors" for folder in (".", "ema")}
        headers = {folder: read_header(file) for folder, file in files.items()}
        assert {folder: header["weights"] for folder, header in headers.items()} == {
            ".": "raw",
            "ema": "ema",
        }
        assert headers["ema"]["images_processed"] == 12
        raw, found = (read_weights(file) for file in files.values())
        assert all(identical(found[key], weight) for key, weight in kept[direction].items())
        assert not any(identical(raw[key], weight) for key, weight in kept[direction].items())
        statistics = [key for key in found if key.endswith("running_mean")]
        assert statistics and all(identical(raw[key], found[key]) for key in statistics)
    metric = {"pix2pix": "l1", "cyclegan": "swd"}[name]
    for line in lines(run, "validation"):
        one, other = (values(line, prefix) for prefix in ("val", "val_ema"))
        assert one.keys() == other.keys() and one[metric] != other[metric]


def test_ema_0_saves_no_ema_weights(data: Path, tmp_path: Path) -> None:
    run = training.train(settings("pix2pix", data, tmp_path / "run"))
    assert not (run / "ema").exists() and checkpoint_state(run)["monitor"]["ema"] == {}
    assert not any(values(line, "val_ema") for line in lines(run, "validation"))


@pytest.mark.parametrize(("batches", "steps"), [(1, 12), (2, 6), (4, 4)])
def test_ema_is_updated_once_per_optimizer_step(
    batches: int, steps: int, data: Path, tmp_path: Path
) -> None:
    """With four of six batches per step, the last two batches of an epoch are a step."""
    more = {"train": {"ema": 0.9, "accumulation_steps": batches}, "validate": {"every": 0}}
    run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    assert checkpoint_state(run)["monitor"]["ema"]["steps"] == steps


def test_a_non_finite_step_does_not_change_the_ema(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject_non_finite(monkeypatch, lambda epoch, position: (epoch, position) == (1, 1))
    more = {"train": {"ema": 0.9, "log_every": NEVER}, "validate": {"every": 0}}
    run = training.Run(settings("pix2pix", data, tmp_path / "run", **more))
    with pytest.raises(UserError, match="not finite"):
        training.train_run(run)
    ema = run.monitor.ema
    assert ema is not None and ema.steps > 2
    for network in ema.networks().values():
        assert all(bool(weight.isfinite().all()) for weight in network.state_dict().values())


def test_ema_can_be_switched_on_when_resuming(data: Path, tmp_path: Path) -> None:
    for epochs, ema in ((1, 0.0), (2, 0.9)):
        more = {"train": {"epochs": epochs, "ema": ema}, "validate": {"every": 0}}
        run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    assert checkpoint_state(run)["monitor"]["ema"]["steps"] == 6
    assert json.loads((run / "config.json").read_text())["train"]["ema"] == 0.9
