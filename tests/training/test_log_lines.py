"""Log lines of gradient norms, validations and diagnostics."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from monitored_runs import METHODS, NEVER, lines, noise_splits, settings
from PIL import Image
from support import values
from torch import Tensor

from viceversa.run_log import COMMON
from viceversa.runtime.training import Runtime
from viceversa.training import loop as training


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_splits(tmp_path_factory.mktemp("log"))


@pytest.fixture
def step_norms(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the gradient norm of each optimizer step, computed by hand."""
    norms: list[float] = []
    step = Runtime.step

    def record(self: Runtime, optimizer: torch.optim.Optimizer, is_finite: Tensor) -> None:
        gradients = [w.grad for group in optimizer.param_groups for w in group["params"]]
        squares = sum(float((g.double() ** 2).sum()) for g in gradients if g is not None)
        norms.append(math.sqrt(squares))
        step(self, optimizer, is_finite)

    monkeypatch.setattr(Runtime, "step", record)
    return norms


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("every", "batches"), [(1, 1), (3, 1), (2, 2)])
def test_logged_gradient_norms_are_means_per_player(
    name: str, every: int, batches: int, data: Path, tmp_path: Path, step_norms: list[float]
) -> None:
    more: dict[str, dict[str, Any]] = {
        "train": {"epochs": 1, "log_every": every, "accumulation_steps": batches},
        "validate": {"every": 0},
    }
    run = training.train(settings(name, data, tmp_path / "run", **more))
    order = ["discriminator", "generator"] if name == "pix2pix" else ["generator", "discriminator"]
    steps = every // batches
    gradient_lines = lines(run, "train")
    assert len(gradient_lines) == 6 // every and len(step_norms) == 2 * 6 // batches
    for number, line in enumerate(gradient_lines):
        for index, player in enumerate(order):
            mine = step_norms[index::2][number * steps : (number + 1) * steps]
            assert line[f"grad_norm.{player}"] == pytest.approx(sum(mine) / steps, rel=1e-5)
        assert not any("norm" in key for key in values(line, "loss"))


def test_the_logged_norm_is_that_before_clipping(data: Path, tmp_path: Path) -> None:
    more: dict[str, dict[str, Any]] = {
        "train": {"epochs": 1, "log_every": 1, "grad_clip": 1e-3},
        "validate": {"every": 0},
    }
    run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    assert all(line["grad_norm.generator"] > 0.1 for line in lines(run, "train"))


@pytest.mark.parametrize("name", METHODS)
def test_validation_lines(name: str, data: Path, tmp_path: Path) -> None:
    run = training.train(settings(name, data, tmp_path / "run", validate={"every": 5}))
    found = lines(run, "validation")
    assert [(line["images"], line["epoch"]) for line in found] == [(5, 1), (10, 2), (12, 2)]
    for line in found:
        measured = values(line, "val")
        assert measured and all(math.isfinite(value) for value in measured.values())
        assert values(line, "best").keys() == {"metric", "value", "images", "weights"}
        others = {key for key in line if not key.startswith(("val.", "best."))}
        assert others == {*COMMON, "split", "n"}


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return noise images with targets of one bright color."""
    root = noise_splits(tmp_path_factory.mktemp("bright"))
    for path in root.glob("*/B/*.png"):
        Image.new("RGB", (20, 20), (250, 250, 230 + int(path.stem))).save(path)
    return root


def failing_run(data: Path, run: Path, **more: Any) -> Path:
    """Train without L1 and with a discriminator lr 1000 times that of the generator."""
    failing: dict[str, dict[str, Any]] = {
        "method": {"lambda_l1": 0.0},
        "discriminator": {"width": 8},
        "train": {
            "epochs": 60,
            "log_every": 20,
            "lr": 1e-5,
            "lr_per_network": {"discriminator": 1e-2},
        },
        "validate": {"every": 0, "health": 20, **more},
    }
    return training.train(settings("pix2pix", data, run, **failing))


def test_a_failing_run_is_reported_once(
    bright: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = failing_run(bright, tmp_path / "run")
    printed = [line for line in capsys.readouterr().out.splitlines() if "saturated" in line]
    name = "saturated discriminator"
    found = [line for line in lines(run, "diagnostic") if line["diagnostic.name"] == name]
    assert len(found) == len(printed) == 1
    finding = values(found[0], "diagnostic")
    assert finding["state"] == "warning" and 0 < finding["since"] <= found[0]["images"] - 200
    assert finding["text"] and "train.lr_per_network.discriminator" in finding["advice"]
    assert printed[0].startswith("warning: saturated discriminator, since ")


def test_health_0_reports_nothing(bright: Path, tmp_path: Path) -> None:
    assert not lines(failing_run(bright, tmp_path / "run", health=0), "diagnostic")


def test_a_run_without_problems_is_not_reported(tmp_path: Path) -> None:
    """The control, with as many diagnostics."""
    data = noise_splits(tmp_path / "data")
    more: dict[str, dict[str, Any]] = {
        "train": {"epochs": 50, "log_every": 20, "sample_every": NEVER},
        "validate": {"every": 0, "health": 20},
    }
    run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    names = {line["diagnostic.name"] for line in lines(run, "diagnostic")}
    assert "saturated discriminator" not in names
