"""What the log says of gradients, of validations and of a run that goes wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from monitored_runs import METHODS, NEVER, data_set, lines, settings
from PIL import Image
from torch import Tensor

from viceversa.runtime.training import Runtime
from viceversa.training import loop as training


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("told"))


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The norm of each gradient that a player steps by, in order, summed up by hand."""
    norms: list[float] = []
    step = Runtime.step

    def noting(self: Runtime, optimizer: torch.optim.Optimizer, sound: Tensor) -> None:
        gradients = [w.grad for group in optimizer.param_groups for w in group["params"]]
        squares = sum(float((g.double() ** 2).sum()) for g in gradients if g is not None)
        norms.append(math.sqrt(squares))
        step(self, optimizer, sound)

    monkeypatch.setattr(Runtime, "step", noting)
    return norms


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("every", "batches"), [(1, 1), (3, 1), (2, 2)])
def test_norms_of_gradients_are_those_of_each_player(
    name: str, every: int, batches: int, data: Path, tmp_path: Path, stepped: list[float]
) -> None:
    more: dict[str, dict[str, Any]] = {
        "train": {"epochs": 1, "log_every": every, "accumulation_steps": batches},
        "validate": {"every": 0},
    }
    run = training.train(settings(name, data, tmp_path / "run", **more))
    order = ["discriminator", "generator"] if name == "pix2pix" else ["generator", "discriminator"]
    steps = every // batches
    told = lines(run, "gradients")
    assert len(told) == 6 // every and len(stepped) == 2 * 6 // batches
    for number, line in enumerate(told):
        for turn, player in enumerate(order):
            mine = stepped[turn::2][number * steps : (number + 1) * steps]
            assert line["gradients"][player] == pytest.approx(sum(mine) / steps, rel=1e-5)
        assert not any(key.startswith("norm") for key in line["losses"])


def test_the_norm_is_that_before_it_is_clipped(data: Path, tmp_path: Path) -> None:
    more: dict[str, dict[str, Any]] = {
        "train": {"epochs": 1, "log_every": 1, "grad_clip": 1e-3}, "validate": {"every": 0},
    }  # fmt: skip
    run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    assert all(line["gradients"]["generator"] > 0.1 for line in lines(run, "gradients"))


@pytest.mark.parametrize("name", METHODS)
def test_lines_of_validation(name: str, data: Path, tmp_path: Path) -> None:
    run = training.train(settings(name, data, tmp_path / "run", validate={"every": 5}))
    found = lines(run, "validation")
    assert [(line["images"], line["epoch"]) for line in found] == [(5, 1), (10, 2), (12, 2)]
    for line in found:
        said = line["validation"]
        assert {"split", "n", "raw", "chosen_by", "best"} == said.keys()
        assert said["best"].keys() == {"value", "images", "weights"}
        assert all(math.isfinite(value) for value in said["raw"].values())


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise, and targets of one bright colour."""
    root = data_set(tmp_path_factory.mktemp("bright"))
    for path in root.glob("*/B/*.png"):
        Image.new("RGB", (20, 20), (250, 250, 230 + int(path.stem))).save(path)
    return root


def going_wrong(data: Path, run: Path, **more: Any) -> Path:
    """A generator that has a discriminator alone to learn from, which learns 1000 times as fast."""
    failing: dict[str, dict[str, Any]] = {
        "method": {"lambda_l1": 0.0},
        "discriminator": {"width": 8},
        "train": {"epochs": 60, "log_every": 20, "lr": 1e-5,
                  "lr_per_network": {"discriminator": 1e-2}},
        "validate": {"every": 0, "health": 20, **more},
    }  # fmt: skip
    return training.train(settings("pix2pix", data, run, **failing))


def test_a_run_that_goes_wrong_is_warned_of_once(
    bright: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = going_wrong(bright, tmp_path / "run")
    said = [line for line in capsys.readouterr().out.splitlines() if "saturated" in line]
    found = [line for line in lines(run, "health")
             if line["health"]["name"] == "saturated discriminator"]  # fmt: skip
    assert len(found) == len(said) == 1
    finding = found[0]["health"]
    assert finding["state"] == "warning" and 0 < finding["since"] <= found[0]["images"] - 200
    assert finding["saw"] and "train.lr_per_network.discriminator" in finding["advice"]
    assert said[0].startswith("warning: saturated discriminator, since ")


def test_health_that_is_not_asked_for_says_nothing(bright: Path, tmp_path: Path) -> None:
    assert not lines(going_wrong(bright, tmp_path / "run", health=0), "health")


def test_a_run_that_is_well_is_not_warned_of(tmp_path: Path) -> None:
    """The control: as many looks at a run that has nothing to be sure of."""
    data = data_set(tmp_path / "data")
    more: dict[str, dict[str, Any]] = {
        "train": {"epochs": 50, "log_every": 20, "sample_every": NEVER},
        "validate": {"every": 0, "health": 20},
    }
    run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    names = {line["health"]["name"] for line in lines(run, "health")}
    assert "saturated discriminator" not in names
