"""To look more often changes no weight, no average, no pool and no random number, to the bit."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from monitored_runs import METHODS, data_set, lines, settings
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
    return data_set(tmp_path_factory.mktemp("untouched"))


def learnt(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> dict[str, Any]:
    """What a run has learnt, and the random numbers that it would draw next."""
    state = checkpoint_state(training.train(settings(name, data, run, **more)))
    return {part: state[part] for part in ("method", "optimizers", "random")}


@pytest.fixture(scope="module")
def idle(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What runs that were not looked at have learnt, by method."""
    folder = tmp_path_factory.mktemp("idle")
    return {name: learnt(name, data, folder / name, **IDLE) for name in METHODS}


@pytest.mark.parametrize("name", METHODS)
def test_looking_after_each_image_changes_nothing(
    name: str, data: Path, idle: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert identical(learnt(name, data, run, **BUSY), idle[name])
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
    ids=["samples", "validation", "health", "averages"],
)
def test_each_kind_of_look_changes_nothing(
    more: dict[str, Any], data: Path, idle: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    assert identical(learnt("pix2pix", data, tmp_path / "run", **more), idle["pix2pix"])


@pytest.mark.parametrize("copied", [False, True], ids=["live", "copied"])
@pytest.mark.parametrize("apart", [False, True], ids=["one-dice", "own-dice"])
def test_the_naive_look_does_change_what_is_learnt(
    copied: bool, apart: bool, data: Path, idle: dict[str, dict[str, Any]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The control, on networks that stay in training: copies of them keep batch norm's statistics
    from moving, and random numbers of their own keep dropout from using up training's."""

    @contextmanager
    def naive(method: Method) -> Iterator[Snapshot]:
        networks = method.translators(), method.discriminators()
        if copied:
            networks = copy.deepcopy(networks)
        with torch.random.fork_rng([], enabled=apart):
            yield Snapshot(*networks, objective="bce")

    monkeypatch.setattr("viceversa.training.monitor.snapshot", naive)
    found = learnt("pix2pix", data, tmp_path / "run", **BUSY)
    assert identical(found, idle["pix2pix"]) == (copied and apart)


@pytest.mark.parametrize("name", METHODS)
def test_networks_go_on_training_after_a_look(name: str, data: Path, tmp_path: Path) -> None:
    run = training.Run(settings(name, data, tmp_path / "run"))
    run.method.train()
    with snapshot(run.method) as players:
        discriminators = [one.network for one in players.discriminators.values()]
        copies = [*players.generators.values(), *discriminators]
    assert not any(layer.training for copy in copies for layer in copy.modules())
    assert all(layer.training for layer in run.method.modules())
    live = {id(weight) for weight in run.method.parameters()}
    assert not any(id(weight) in live for copy in copies for weight in copy.parameters())
