"""Monitoring changes no weight, optimizer state, image pool or random number."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from monitored_runs import METHODS, lines, noise_splits, settings
from support import checkpoint_state, identical

from viceversa.methods.base import Method
from viceversa.training import loop as training
from viceversa.training.snapshot import Snapshot, snapshot

BUSY: dict[str, dict[str, Any]] = {
    "train": {"sample_every": 1, "ema": 0.9},
    "validate": {"every": 1, "health": 1},
}
IDLE: dict[str, dict[str, Any]] = {"validate": {"every": 0, "health": 0}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_splits(tmp_path_factory.mktemp("monitoring"))


def training_result(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> dict[str, Any]:
    """Train; return method, optimizers and random states of the last checkpoint."""
    state = checkpoint_state(training.train(settings(name, data, run, **more)))
    return {part: state[part] for part in ("method", "optimizers", "random")}


@pytest.fixture(scope="module")
def idle(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the results of runs without monitoring, by method."""
    folder = tmp_path_factory.mktemp("idle")
    return {name: training_result(name, data, folder / name, **IDLE) for name in METHODS}


@pytest.mark.parametrize("name", METHODS)
def test_monitoring_after_each_image_changes_nothing(
    name: str, data: Path, idle: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert identical(training_result(name, data, run, **BUSY), idle[name])
    assert [line["images"] for line in lines(run, "validation")] == list(range(1, 13))
    assert all(len(list((run / kind).iterdir())) == 13 for kind in ("samples", "patch_maps"))


@pytest.mark.parametrize(
    "more",
    [
        {"train": {"sample_every": 1}, "validate": {"every": 0}},
        {"validate": {"every": 1}},
        {"validate": {"every": 0, "health": 1}},
        {"train": {"ema": 0.99}, "validate": {"every": 0}},
    ],
    ids=["samples", "validation", "health", "ema"],
)
def test_each_kind_of_monitoring_changes_nothing(
    more: dict[str, Any], data: Path, idle: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    assert identical(training_result("pix2pix", data, tmp_path / "run", **more), idle["pix2pix"])


@pytest.mark.parametrize("copy_networks", [False, True], ids=["live", "copies"])
@pytest.mark.parametrize("fork_random", [False, True], ids=["shared-rng", "forked-rng"])
def test_control_naive_monitoring_changes_the_result(
    copy_networks: bool,
    fork_random: bool,
    data: Path,
    idle: dict[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Networks in training mode: only copies protect the running statistics of batch norm, and
    only a forked RNG protects the random numbers of training from dropout."""

    @contextmanager
    def naive(method: Method) -> Iterator[Snapshot]:
        networks = method.translators(), method.discriminators()
        if copy_networks:
            networks = copy.deepcopy(networks)
        with torch.random.fork_rng([], enabled=fork_random):
            yield Snapshot(*networks, objective="bce")

    monkeypatch.setattr("viceversa.training.monitor.snapshot", naive)
    found = training_result("pix2pix", data, tmp_path / "run", **BUSY)
    assert identical(found, idle["pix2pix"]) == (copy_networks and fork_random)


@pytest.mark.parametrize("name", METHODS)
def test_networks_stay_in_training_mode(name: str, data: Path, tmp_path: Path) -> None:
    run = training.Run(settings(name, data, tmp_path / "run"))
    run.method.train()
    with snapshot(run.method) as parts:
        discriminators = [one.network for one in parts.discriminators.values()]
        copies = [*parts.generators.values(), *discriminators]
    assert not any(layer.training for copy in copies for layer in copy.modules())
    assert all(layer.training for layer in run.method.modules())
    live = {id(weight) for weight in run.method.parameters()}
    assert not any(id(weight) in live for copy in copies for weight in copy.parameters())
