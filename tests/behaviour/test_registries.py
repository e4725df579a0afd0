"""Methods, generators and discriminators work in all combinations, also user-defined ones."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support import SMALL_GENERATORS as GENERATOR_SETTINGS
from support import (
    ConvGenerator,
    MeanColor,
    MultiScale,
    OneSided,
    Regression,
    checkpoint_state,
    identical,
    log_lines,
    noise_pairs,
    sigterm_after,
    values,
)

from viceversa import METHODS, Translator, train
from viceversa.config.run import RunConfig, is_paired, resolve
from viceversa.errors import RunStopped, UserError
from viceversa.evaluation import evaluate
from viceversa.inference.patch_scores import ExplainOptions, explain
from viceversa.networks import DISCRIMINATORS, GENERATORS
from viceversa.plan.costs import estimate

USER_DEFINED: list[tuple[dict[str, Any], str, Any]] = [
    (METHODS, "one-sided", OneSided),
    (METHODS, "regression", Regression),
    (GENERATORS, "conv", ConvGenerator),
    (DISCRIMINATORS, "multi-scale", MultiScale),
    (DISCRIMINATORS, "mean-color", MeanColor),
]
METHOD_NAMES = [*METHODS, "one-sided", "regression"]
GENERATOR_NAMES = [*GENERATORS, "resnet-options", "conv"]
DISCRIMINATOR_NAMES = [*DISCRIMINATORS, "patchgan-options", "multi-scale", "mean-color"]
SETTINGS: dict[str, dict[str, Any]] = {
    **GENERATOR_SETTINGS,
    "cyclegan": {"lambda_r1": 1.0, "label_smoothing": 0.1},
    "cut": {
        "lambda_r1": 1.0,
        "layers": [0, 1],
        "patches": 16,
        "head_width": 8,
        "flip_equivariance": True,
        "negatives": "hard",
    },
    "cut-paired": {"layers": [0, 1], "patches": 16, "head_width": 8},
    "patchgan": {"width": 2, "layers": 1},
    "pixelgan": {"width": 2},
    # Entries with options that are off by default.
    "resnet-options": {
        "name": "resnet",
        "width": 4,
        "blocks": 1,
        "downsamplings": 1,
        "antialias": True,
        "spectral_norm": True,
    },
    "patchgan-options": {
        "name": "patchgan",
        "width": 2,
        "layers": 1,
        "antialias": True,
        "padding": "two",
        "scales": 2,
        "spectral_norm": True,
    },
}
PRODUCT = list(itertools.product(METHOD_NAMES, GENERATOR_NAMES, DISCRIMINATOR_NAMES))


def every_pair() -> set[tuple[str, str, str]]:
    """Return combinations in which each pair of entries occurs (a Latin rectangle)."""
    lists = [METHOD_NAMES, GENERATOR_NAMES, DISCRIMINATOR_NAMES]
    shortest = min(range(3), key=lambda number: len(lists[number]))
    short = lists.pop(shortest)
    found = set()
    for (i, one), (j, two) in itertools.product(*map(enumerate, lists)):
        names = [one, two]
        names.insert(shortest, short[(i + j) % len(short)])
        found.add((names[0], names[1], names[2]))
    return found


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry, name, user_class in USER_DEFINED:
        monkeypatch.setitem(registry, name, (user_class, user_class.Config))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for split in ("train", "val", "test"):
        noise_pairs(root / split, 2, 16)
    return root


def settings(names: tuple[str, str, str], data: Path, run: Path) -> RunConfig:
    sections = ("method", "generator", "discriminator")
    return resolve(
        {
            **{
                section: {"name": name, **SETTINGS.get(name, {})}
                for section, name in zip(sections, names, strict=True)
            },
            "data": {"path": str(data), "load_size": 16, "crop_size": 16, "workers": 0},
            "train": {
                "run": str(run),
                "epochs": 1,
                "device": "cpu",
                "precision": "fp32",
                "samples": 1,
                "log_every": 1,
            },
            "validate": {"every": 1, "health": 1},
        }
    )


def test_each_pair_of_entries_occurs() -> None:
    for first, second in itertools.combinations(range(3), 2):
        pairs = {(names[first], names[second]) for names in every_pair()}
        assert pairs == {(names[first], names[second]) for names in PRODUCT}


def mark(names: tuple[str, str, str]) -> list[pytest.MarkDecorator]:
    """Run some combinations in `make quick`, each pair in `make test`, all in `make soak`."""
    if names not in every_pair():
        return [pytest.mark.soak]
    return [] if names in sorted(every_pair())[::5] else [pytest.mark.slow]


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", [pytest.param(names, id="-".join(names), marks=mark(names)) for names in PRODUCT]
)
def test_a_combination_is_trained_and_used(
    names: tuple[str, str, str],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, _, discriminator = names
    run = tmp_path / "run"
    train(settings(names, data, run))
    losses = [values(line, "loss") for line in log_lines(run, "train")]
    assert len(losses) == 2 and all(math.isfinite(x) for one in losses for x in one.values())
    assert len(log_lines(run, "validation")) == 2
    has_discriminator = method != "regression"
    has_patch_maps = has_discriminator and discriminator != "mean-color"
    assert len(list((run / "patch_maps").glob("*.png"))) == (2 if has_patch_maps else 0)

    _resumes(names, data, tmp_path, monkeypatch)
    costs = estimate(settings(names, data, run), (16, 16), torch.device("cpu"))
    assert costs.step_macs > 0 and costs.run > 0
    source = data / "test" / "A" / "00.png"
    with Image.open(source) as image:
        assert Translator.load(run / "ab.safetensors", "cpu")(image).size == (16, 16)
    metrics = evaluate(run, device="cpu", metrics=["swd"])
    assert metrics["protocol"]["pairs"] is is_paired(method)
    _explains(run, source, has_discriminator, has_patch_maps)


def _resumes(
    names: tuple[str, str, str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that a run stopped after its first step resumes to the state of the other run."""
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        sigterm_after(patch)(1)
        with pytest.raises(RunStopped):
            train(settings(names, data, stopped))
    train(settings(names, data, stopped))
    assert identical(checkpoint_state(stopped), checkpoint_state(tmp_path / "run"))


def _explains(run: Path, image: Path, has_discriminator: bool, has_patch_maps: bool) -> None:
    options = ExplainOptions(run / "ab.safetensors", image, device="cpu")
    if has_patch_maps:
        (row,) = explain(options).rows
        assert row.scores.values.shape == row.scores.grid[2:4]
        return
    reason = (
        "has no patch grid" if has_discriminator else "there is no discriminator d_b.safetensors"
    )
    with pytest.raises(UserError, match=reason):
        explain(options)
