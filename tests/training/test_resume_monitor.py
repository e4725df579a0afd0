"""Resuming with accumulation, EMA and patience is exact, and best/ belongs to the checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from monitored_runs import data_set, lines, settings
from support import checkpoint_state, identical, newest_checkpoint, train_until_crash

from viceversa.checkpoint import Checkpoints, load_state, read_header, save_network, save_state
from viceversa.config.run import RunConfig
from viceversa.training import loop as training
from viceversa.training.best import Best, BestModels
from viceversa.training.gradients import GradientStats

TOGETHER: dict[str, dict[str, Any]] = {
    "train": {"accumulation_steps": 3, "ema": 0.9, "epochs": 4, "save_every": 1, "keep_last": 99},
    "validate": {"every": 4, "health": 4, "patience": 4},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("resumed"), train=8)


def without_later(run: Path, images: int) -> None:
    """Remove the checkpoints after so many images."""
    for path in (run / "checkpoints").glob("*.safetensors"):
        if int(path.stem) > images:
            path.unlink()


def log(run: Path) -> list[dict[str, Any]]:
    every = [*lines(run, "losses"), *lines(run, "validation"), *lines(run, "health")]
    return [{k: v for k, v in line.items() if k != "images_per_s"} for line in every]


@pytest.mark.parametrize(("name", "stops"), [("pix2pix", (3, 11, 14)), ("cyclegan", (11,))])
def test_accumulation_ema_and_patience_together(
    name: str, stops: tuple[int, ...], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups of 3 in epochs of 8 batches: 3, 3, 2. The run ends early: no second one is better."""
    monkeypatch.setattr(Best, "_better", lambda self, value: self.value is None)
    whole = training.train(settings(name, data, tmp_path / "whole", **TOGETHER))
    assert [line["images"] for line in lines(whole, "validation")] == [6, 8, 14, 16, 22]
    assert newest_checkpoint(whole).stem == "0000000022"
    for images in stops:  # in the middle of epochs
        run = tmp_path / str(images)
        shutil.copytree(whole, run)
        without_later(run, images)
        training.train(settings(name, data, run, **TOGETHER))
        assert identical(checkpoint_state(run), checkpoint_state(whole)) and log(run) == log(whole)


def test_a_run_that_dies_within_a_group_ends_the_same(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = TOGETHER | {"train": TOGETHER["train"] | {"epochs": 2}}
    whole = training.train(settings("pix2pix", data, tmp_path / "whole", **more))
    run = settings("pix2pix", data, tmp_path / "run", **more)
    for at in (4, 8, 10):  # in each part of a group of 3
        train_until_crash(monkeypatch, at, run)
    training.train(run)
    assert identical(checkpoint_state(tmp_path / "run"), checkpoint_state(whole)) and log(
        tmp_path / "run"
    ) == log(whole)


def test_gradient_norms_are_in_the_checkpoint(data: Path, tmp_path: Path) -> None:
    more = {
        "train": {"accumulation_steps": 3, "save_every": 3},
        "validate": {"every": 0, "health": 4},
    }
    run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    state = load_state(newest_checkpoint(run))["monitor"]
    assert state["norms"].keys() == {"generator", "discriminator"}
    looks = {name: len(norms) for name, norms in state["health"]["norms"].items()}
    assert set(looks.values()) == {4}  # each look, also the first, has the norms of its step


def test_a_player_that_did_not_step_since_resuming_keeps_its_norm() -> None:
    before = GradientStats(torch.device("cpu"))
    for player, norm in (("slow", 2.0), ("fast", 3.0)):
        before.record(player, torch.tensor(True), torch.tensor(norm))
    after = GradientStats(torch.device("cpu"))
    after.restore(before.norms())
    after.record("fast", torch.tensor(True), torch.tensor(5.0))
    assert after.norms() == {"slow": 2.0, "fast": 5.0} and after.first_fault() is None
    after.record("slow", torch.tensor(False), torch.tensor(0.0))
    fault = after.first_fault()
    assert fault is not None and fault.player == "slow"


# -- best/


def best_of(run: Path) -> int:
    """Images of the models in best/."""
    (images,) = {read_header(path)["images_seen"] for path in (run / "best").iterdir()}
    return int(images)


class Improving(Best):
    """Every validation is the best."""

    def _better(self, value: float) -> bool:
        return True


@pytest.fixture
def improving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Best, "_better", Improving._better)


def often(data: Path, run: Path) -> RunConfig:
    """Validations at 4, 8, 12, 16; checkpoints at 6, 12, 16."""
    return settings("pix2pix", data, run, train={"save_every": 6})


@pytest.mark.usefixtures("improving")
def test_a_best_after_the_last_checkpoint_is_not_in_best(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = often(data, tmp_path)
    train_until_crash(monkeypatch, 9, run)  # after the validation at 8, before the checkpoint at 12
    assert newest_checkpoint(tmp_path).stem == "0000000006" and best_of(tmp_path) == 4
    training.train(run)
    assert best_of(tmp_path) == 16 and not (tmp_path / "best_abandoned").exists()
    assert [line["images"] for line in lines(tmp_path, "validation")] == [4, 8, 12, 16]


@pytest.mark.usefixtures("improving")
def test_a_run_that_ends_between_checkpoint_and_best_publishes_it_on_resume(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = often(data, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(BestModels, "publish", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            training.train(run)
    assert newest_checkpoint(tmp_path).stem == "0000000006" and not (tmp_path / "best").exists()
    train_until_crash(monkeypatch, 7, run)
    assert best_of(tmp_path) == 4


@pytest.mark.usefixtures("improving")
def test_best_of_abandoned_steps_is_moved_away(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = often(data, tmp_path)
    training.train(run)
    without_later(tmp_path, 12)
    (tmp_path / "checkpoints" / "0000000012.safetensors").unlink()
    capsys.readouterr()
    train_until_crash(monkeypatch, 7, run)
    assert "best_abandoned" in capsys.readouterr().out
    assert not (tmp_path / "best").exists()
    assert read_header(tmp_path / "best_abandoned" / "ab.safetensors")["images_seen"] == 16
    training.train(run)
    assert best_of(tmp_path) == 16


@pytest.mark.usefixtures("improving")
def test_a_run_that_starts_again_does_not_keep_the_best_of_another(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = often(data, tmp_path)
    training.train(run)
    shutil.rmtree(tmp_path / "checkpoints")
    train_until_crash(monkeypatch, 1, run)
    assert not (tmp_path / "best").exists() and (tmp_path / "best_abandoned").is_dir()


def test_what_belongs_to_a_checkpoint(tmp_path: Path) -> None:
    """Models of other images or weights than the checkpoint's best do not; none are no problem."""
    best = {"value": 0.5, "images": 8, "weights": "raw"}
    models = BestModels(tmp_path)
    assert models.match(best) == "" and not models.folder.exists()
    for header, stays in (((8, "raw"), True), ((8, "ema"), False), ((12, "raw"), False),
                          ((4, "raw"), False)):  # fmt: skip
        shutil.rmtree(models.folder, ignore_errors=True)
        about = {"images_seen": header[0], "weights": header[1]}
        save_network(models.folder / "ab.safetensors", {"w": torch.zeros(1)}, about)
        assert (models.match(best) == "") == stays == models.folder.exists(), header
    save_network(models.folder / "ab.safetensors", {"w": torch.zeros(1)}, about)
    assert models.match({"value": None, "images": 4, "weights": "raw"})
    (models.folder).mkdir()
    (models.folder / "ab.safetensors").write_bytes(b"damaged")
    assert models.match(best)


# -- a repeated command


def test_a_complete_run_is_not_looked_at_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = settings("pix2pix", data, tmp_path, validate={"every": 5})
    training.train(run)
    before, saves = log(tmp_path), []
    save = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda *words: (saves.append(words[2]), save(*words))[1]
    )
    training.train(run)
    assert log(tmp_path) == before and saves == [16]


def test_a_checkpoint_without_the_new_fields_counts_as_looked_at(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = settings("pix2pix", data, tmp_path, train={"save_every": 6}, validate={"every": 6})
    train_until_crash(monkeypatch, 7, run)
    state = load_state(newest_checkpoint(tmp_path))
    del state["monitor"]["norms"], state["monitor"]["looked"]
    save_state(newest_checkpoint(tmp_path), state)
    training.train(run)
    assert [line["images"] for line in lines(tmp_path, "validation")] == [6, 12, 16]
