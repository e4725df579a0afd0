"""Whether a method trains on pairs: an attribute of its class, recorded in its model files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from support import OneSided, noise_pairs
from torch import Tensor

from viceversa import METHODS, CycleGAN, Pix2Pix, UserError, evaluate, train
from viceversa.checkpoint import container, read_header
from viceversa.config.compatibility import trained_on_pairs
from viceversa.config.recipes import Sections, merge
from viceversa.config.run import RunConfig, is_paired, resolve
from viceversa.methods.base import Batch, Method, Turn

equal: list[bool] = []  # of each step, whether a and b had the same pixels


def note(batch: Batch) -> None:
    equal.append(torch.equal(*batch))


class Smooth(Pix2Pix):
    """A subclass with one more loss."""

    @dataclass(frozen=True)
    class Config(Pix2Pix.Config):
        lambda_tv: float = 1.0

    def step(self, batch: Batch) -> Iterator[Turn]:
        note(batch)
        for player, losses in super().step(batch):
            if player == "generator":
                fake = self.g_ab(batch[0])
                tv = (fake[..., 1:] - fake[..., :-1]).abs().mean()
                losses["g_tv"] = self.config.lambda_tv * tv  # type: ignore[attr-defined]
            yield player, losses


class Smoother(Smooth):
    """A subclass of a subclass."""


class PairedCycle(CycleGAN):
    """CycleGAN with L1 to the pair: pairs, although there is a cycle."""

    paired: ClassVar[bool] = True

    def step(self, batch: Batch) -> Iterator[Turn]:
        note(batch)
        return super().step(batch)


class NotedOneWay(OneSided):
    """Unpaired, in one direction."""

    def step(self, batch: Batch) -> Iterator[Turn]:
        note(batch)
        return super().step(batch)


OWN: dict[str, tuple[Any, bool]] = {
    "smooth": (Smooth, True),
    "smoother": (Smoother, True),
    "paired-cycle": (PairedCycle, True),
    "one-way": (NotedOneWay, False),
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
        "train": {"run": str(run), "epochs": 1, "device": "cpu", "samples": 1},
        "validate": {"every": 4},
    }
    return resolve(merge(small, more))


def equal_pairs(root: Path) -> Path:
    """A and B with equal contents: pairs are told from random partners by their pixels."""
    for split, count in (("train", 4), ("test", 3), ("val", 3)):
        noise_pairs(root / split, count, 16)
        for a in (root / split / "A").iterdir():
            (root / split / "B" / a.name).write_bytes(a.read_bytes())
    return root


@pytest.mark.parametrize(
    ("name", "direction"), [*((name, "ab") for name in OWN), ("smooth", "ba"), ("one-way", "ba")]
)
def test_an_own_method_is_fed_recorded_and_evaluated_as_its_class_says(
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
    for way in numbers["directions"].values():
        assert ("l1" in way["means"]) is paired


@pytest.mark.parametrize(("name", "paired"), [("pix2pix", True), ("cyclegan", False)])
def test_the_methods_of_the_package(name: str, paired: bool, tmp_path: Path) -> None:
    run = train(settings(name, equal_pairs(tmp_path / "data"), tmp_path / "run"))
    assert read_header(run / "ab.safetensors")["paired"] is paired


@pytest.mark.parametrize(
    ("header", "paired"),
    [
        ({"trained": {"method": {"name": "pix2pix"}}}, True),
        ({"trained": {"method": {"name": "cyclegan", "lambda_cycle": 10.0}}}, False),
        ({"trained": {"method": {"name": "own"}}}, None),
        ({"trained": {"method": {"name": "own", "lambda_cycle": 10.0}}}, None),
        ({"trained": {"method": {"name": ["pix2pix"]}}}, None),
        ({"trained": {"method": "pix2pix"}}, None),
        ({"trained": []}, None),
        ({}, None),
        ({"paired": False, "trained": {"method": {"name": "pix2pix"}}}, False),
        ({"paired": True, "trained": {"method": {"name": "own"}}}, True),
    ],
)
def test_headers_without_the_field_are_read_by_the_name_of_the_method(
    header: dict[str, Any], paired: bool | None
) -> None:
    assert trained_on_pairs(header) is paired


def rewritten(file: Path, change: Any) -> None:
    tensors, header = container.load(file)
    change(header)
    container.save(file, tensors, header)


def test_evaluate_asks_where_an_older_file_does_not_tell(tmp_path: Path) -> None:
    data = equal_pairs(tmp_path / "data")
    run = train(settings("one-way", data, tmp_path / "run", validate={"every": 0}))
    rewritten(run / "ab.safetensors", lambda header: header.pop("paired"))
    with pytest.raises(UserError, match="--pairs yes or --pairs no") as error:
        evaluate(run)
    assert error.value.option == "--pairs" and error.value.path == run / "ab.safetensors"
    assert evaluate(run, pairs="yes")["protocol"]["pairs"] is True
    assert evaluate(run, pairs="no")["protocol"]["pairs"] is False


@pytest.mark.parametrize("value", ["no", 0, None, [True]])
def test_a_header_with_another_value_is_refused(value: Any, tmp_path: Path) -> None:
    file = tmp_path / "ab.safetensors"
    container.save(file, {"x": Tensor([1.0])}, {"format": 1, "kind": "other", "paired": value})
    with pytest.raises(UserError, match="paired"):
        read_header(file)


@pytest.mark.parametrize("declared", [{}, {"paired": "yes"}, {"paired": 1}])
def test_a_class_that_does_not_declare_it_is_refused(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    undeclared = type("Undeclared", (Method,), declared)
    monkeypatch.setitem(METHODS, "undeclared", (undeclared, OneSided.Config))
    with pytest.raises(UserError, match="undeclared") as error:
        is_paired("undeclared")
    assert error.value.option == "method.name"
