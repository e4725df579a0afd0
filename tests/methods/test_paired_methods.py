"""Test the attribute `paired` of methods, and its record in model files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from support import OneSided, noise_pairs, raises_user_error
from torch import Tensor

from viceversa import METHODS, CycleGAN, Pix2Pix, UserError, evaluate, train
from viceversa.batch import Batch
from viceversa.checkpoint import container, read_header
from viceversa.config.compatibility import trained_on_pairs
from viceversa.config.recipes import Sections, merge
from viceversa.config.run import RunConfig, is_paired, resolve
from viceversa.methods.base import Method, Turn

equal: list[bool] = []  # for each step, whether a and b are the same image


def record(batch: Batch) -> None:
    equal.append(torch.equal(batch.a, batch.b))


class WithTotalVariation(Pix2Pix):
    """pix2pix with an additional loss."""

    @dataclass(frozen=True)
    class Config(Pix2Pix.Config):
        lambda_tv: float = 1.0

    def step(self, batch: Batch) -> Iterator[Turn]:
        record(batch)
        for player, losses in super().step(batch):
            if player == "generator":
                fake = self.g_ab(batch[0])
                tv = (fake[..., 1:] - fake[..., :-1]).abs().mean()
                losses["g_tv"] = self.config.lambda_tv * tv  # type: ignore[attr-defined]
            yield player, losses


class Derived(WithTotalVariation):
    """A subclass of a subclass."""


class PairedCycle(CycleGAN):
    """CycleGAN that trains on pairs."""

    paired: ClassVar[bool] = True

    def step(self, batch: Batch) -> Iterator[Turn]:
        record(batch)
        return super().step(batch)


class RecordingOneSided(OneSided):
    """Unpaired method with one direction."""

    def step(self, batch: Batch) -> Iterator[Turn]:
        record(batch)
        return super().step(batch)


OWN: dict[str, tuple[Any, bool]] = {
    "total-variation": (WithTotalVariation, True),
    "derived": (Derived, True),
    "paired-cycle": (PairedCycle, True),
    "one-sided": (RecordingOneSided, False),
}


@pytest.fixture(autouse=True)
def own_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (method, _) in OWN.items():
        monkeypatch.setitem(METHODS, name, (method, method.Config))
    equal.clear()


def settings(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> RunConfig:
    small: Sections = {
        "method": {"name": name},
        "generator": {"name": "unet", "width": 2, "depth": 3},
        "discriminator": {"name": "patchgan", "width": 2, "layers": 1},
        "data": {"path": str(data), "load_size": 16, "crop_size": 16, "flip": False, "workers": 0},
        "train": {"run": str(run), "epochs": 1, "device": "cpu", "precision": "fp32", "samples": 1},
        "validate": {"every": 4},
    }
    return resolve(merge(small, more))


def equal_pairs(root: Path) -> Path:
    """Write A and B with equal images, so that steps on pairs can be recognized."""
    for split, count in (("train", 4), ("test", 3), ("val", 3)):
        noise_pairs(root / split, count, 16)
        for a in (root / split / "A").iterdir():
            (root / split / "B" / a.name).write_bytes(a.read_bytes())
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "direction"),
    [*((name, "ab") for name in OWN), ("total-variation", "ba"), ("one-sided", "ba")],
)
def test_user_method_is_trained_and_evaluated_as_declared(
    name: str, direction: str, tmp_path: Path
) -> None:
    paired = OWN[name][1]
    data = equal_pairs(tmp_path / "data")
    config = settings(name, data, tmp_path / "run", data={"direction": direction})
    assert config.paired is is_paired(name) is paired
    run = train(config)
    assert len(equal) == 4 and all(equal) is paired
    files = sorted(run.glob("*.safetensors"))
    assert len(files) >= 2
    for file in [*files, *(run / "best").glob("*.safetensors")]:
        assert read_header(file)["paired"] is paired, file
    numbers = evaluate(run, metrics=["l1"] if paired else ["edge_correlation"], device="cpu")
    assert numbers["protocol"]["pairs"] is paired
    for direction_metrics in numbers["directions"].values():
        assert ("l1" in direction_metrics["means"]) is paired


@pytest.mark.slow
@pytest.mark.parametrize(("name", "paired"), [("pix2pix", True), ("cyclegan", False)])
def test_model_header_of_packaged_methods(name: str, paired: bool, tmp_path: Path) -> None:
    run = train(settings(name, equal_pairs(tmp_path / "data"), tmp_path / "run"))
    assert read_header(run / "ab.safetensors")["paired"] is paired


@pytest.mark.parametrize(
    ("header", "paired"),
    [
        ({"trained": {"method": {"name": "pix2pix"}}}, True),
        ({"trained": {"method": {"name": "cyclegan", "lambda_cycle": 10.0}}}, False),
        ({"trained": {"method": {"name": "user-defined"}}}, None),
        ({"trained": {"method": {"name": "user-defined", "lambda_cycle": 10.0}}}, None),
        ({"trained": {"method": {"name": ["pix2pix"]}}}, None),
        ({"trained": {"method": "pix2pix"}}, None),
        ({"trained": []}, None),
        ({}, None),
        ({"paired": False, "trained": {"method": {"name": "pix2pix"}}}, False),
        ({"paired": True, "trained": {"method": {"name": "user-defined"}}}, True),
    ],
)
def test_header_without_the_field_is_read_by_the_name_of_the_method(
    header: dict[str, Any], paired: bool | None
) -> None:
    assert trained_on_pairs(header) is paired


def rewrite_header(file: Path, change: Any) -> None:
    tensors, header = container.load(file)
    change(header)
    container.save(file, tensors, header)


@pytest.mark.slow
def test_evaluate_needs_the_option_pairs_for_an_older_model(tmp_path: Path) -> None:
    data = equal_pairs(tmp_path / "data")
    run = train(settings("one-sided", data, tmp_path / "run", validate={"every": 0}))
    rewrite_header(run / "ab.safetensors", lambda header: header.pop("paired"))
    with raises_user_error("--pairs", run / "ab.safetensors"):
        evaluate(run)
    assert evaluate(run, pairs="yes")["protocol"]["pairs"] is True
    assert evaluate(run, pairs="no")["protocol"]["pairs"] is False


@pytest.mark.parametrize("value", ["no", 0, None, [True]])
def test_header_with_an_invalid_value_is_refused(value: Any, tmp_path: Path) -> None:
    file = tmp_path / "ab.safetensors"
    container.save(file, {"x": Tensor([1.0])}, {"format": 1, "kind": "other", "paired": value})
    with pytest.raises(UserError, match="paired"):
        read_header(file)


@pytest.mark.parametrize("declared", [{}, {"paired": "yes"}, {"paired": 1}])
def test_method_that_does_not_declare_paired_is_refused(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    undeclared = type("Undeclared", (Method,), declared)
    monkeypatch.setitem(METHODS, "undeclared", (undeclared, OneSided.Config))
    with raises_user_error("method.name") as error:
        is_paired("undeclared")
    assert "undeclared" in str(error.value)
