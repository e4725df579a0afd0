"""Resuming with accumulation, EMA and patience is exact, and best/ belongs to the checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from monitored_runs import lines, noise_splits, settings
from support import CLOCK, checkpoint_state, identical, newest_checkpoint, train_until_crash

from viceversa.checkpoint import Checkpoints, load_state, read_header, save_network, save_state
from viceversa.config.run import RunConfig
from viceversa.training import loop as training
from viceversa.training.best import Best, BestModels
from viceversa.training.gradients import GradientStats

ALL_OPTIONS: dict[str, dict[str, Any]] = {
    "train": {"accumulation_steps": 3, "ema": 0.9, "epochs": 4, "save_every": 1, "keep_last": 99},
    "validate": {"every": 4, "health": 4, "patience": 4},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_splits(tmp_path_factory.mktemp("resumed"), train=8)


def remove_later_checkpoints(run: Path, images: int) -> None:
    """Remove the checkpoints after more than `images` images."""
    for path in (run / "checkpoints").glob("*.safetensors"):
        if int(path.stem) > images:
            path.unlink()


def log(run: Path) -> list[dict[str, Any]]:
    """Return the log lines without timings."""
    log_lines = [*lines(run, "train"), *lines(run, "validation"), *lines(run, "diagnostic")]
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in log_lines]


@pytest.mark.parametrize(("name", "resume_from"), [("pix2pix", (3, 11, 14)), ("cyclegan", (11,))])
def test_accumulation_ema_and_patience_together(
    name: str,
    resume_from: tuple[int, ...],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps of 3, 3 and 2 of the 8 batches of an epoch. Only the first validation is the best."""
    monkeypatch.setattr(Best, "_better", lambda self, value: self.value is None)
    uninterrupted = training.train(settings(name, data, tmp_path / "uninterrupted", **ALL_OPTIONS))
    assert [line["images"] for line in lines(uninterrupted, "validation")] == [6, 8, 14, 16, 22]
    assert newest_checkpoint(uninterrupted).stem == "0000000022"
    for images in resume_from:  # within epochs
        run = tmp_path / str(images)
        shutil.copytree(uninterrupted, run)
        remove_later_checkpoints(run, images)
        training.train(settings(name, data, run, **ALL_OPTIONS))
        assert identical(checkpoint_state(run), checkpoint_state(uninterrupted)) and log(
            run
        ) == log(uninterrupted)


def test_a_run_that_crashes_within_a_step_resumes_exactly(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ALL_OPTIONS | {"train": ALL_OPTIONS["train"] | {"epochs": 2}}
    uninterrupted = training.train(settings("pix2pix", data, tmp_path / "uninterrupted", **more))
    run = settings("pix2pix", data, tmp_path / "run", **more)
    for at in (4, 8, 10):  # in each third of a step
        train_until_crash(monkeypatch, at, run)
    training.train(run)
    assert identical(checkpoint_state(tmp_path / "run"), checkpoint_state(uninterrupted))
    assert log(tmp_path / "run") == log(uninterrupted)


def test_gradient_norms_are_in_the_checkpoint(data: Path, tmp_path: Path) -> None:
    more = {
        "train": {"accumulation_steps": 3, "save_every": 3},
        "validate": {"every": 0, "health": 4},
    }
    run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    state = load_state(newest_checkpoint(run))["monitor"]
    assert state["norms"].keys() == {"generator", "discriminator"}
    counts = {name: len(norms) for name, norms in state["diagnostics"]["norms"].items()}
    assert set(counts.values()) == {4}  # also the first one has the norms of its step


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


def images_of_best(run: Path) -> int:
    """Return the number of images after which the models in best/ were saved."""
    (images,) = {read_header(path)["images_processed"] for path in (run / "best").iterdir()}
    return int(images)


class AlwaysImproving(Best):
    """Best that treats every validation as the best."""

    def _better(self, value: float) -> bool:
        return True


@pytest.fixture
def improving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Best, "_better", AlwaysImproving._better)


def validate_often(data: Path, run: Path) -> RunConfig:
    """Validations at 4, 8, 12, 16; checkpoints at 6, 12, 16."""
    return settings("pix2pix", data, run, train={"save_every": 6})


@pytest.mark.usefixtures("improving")
def test_best_does_not_contain_models_newer_than_the_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = validate_often(data, tmp_path)
    train_until_crash(monkeypatch, 9, run)  # after the validation at 8, before the checkpoint at 12
    assert newest_checkpoint(tmp_path).stem == "0000000006" and images_of_best(tmp_path) == 4
    training.train(run)
    assert images_of_best(tmp_path) == 16 and not (tmp_path / "best_abandoned").exists()
    assert [line["images"] for line in lines(tmp_path, "validation")] == [4, 8, 12, 16]


@pytest.mark.usefixtures("improving")
def test_a_run_that_ends_between_checkpoint_and_best_publishes_it_on_resume(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = validate_often(data, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(BestModels, "publish", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            training.train(run)
    assert newest_checkpoint(tmp_path).stem == "0000000006" and not (tmp_path / "best").exists()
    train_until_crash(monkeypatch, 7, run)
    assert images_of_best(tmp_path) == 4


@pytest.mark.usefixtures("improving")
def test_best_models_of_abandoned_steps_are_moved_away(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = validate_often(data, tmp_path)
    training.train(run)
    remove_later_checkpoints(tmp_path, 12)
    (tmp_path / "checkpoints" / "0000000012.safetensors").unlink()
    capsys.readouterr()
    train_until_crash(monkeypatch, 7, run)
    assert "best_abandoned" in capsys.readouterr().out
    assert not (tmp_path / "best").exists()
    assert read_header(tmp_path / "best_abandoned" / "ab.safetensors")["images_processed"] == 16
    training.train(run)
    assert images_of_best(tmp_path) == 16


@pytest.mark.usefixtures("improving")
def test_a_restarted_run_does_not_keep_the_best_models_of_another(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = validate_often(data, tmp_path)
    training.train(run)
    shutil.rmtree(tmp_path / "checkpoints")
    train_until_crash(monkeypatch, 1, run)
    assert not (tmp_path / "best").exists() and (tmp_path / "best_abandoned").is_dir()


def test_best_models_must_match_the_checkpoint(tmp_path: Path) -> None:
    """They must be of the same images and weights as its best; a missing folder matches."""
    best = {"value": 0.5, "images": 8, "weights": "raw"}
    models = BestModels(tmp_path)
    assert models.match(best) == "" and not models.folder.exists()
    for header, matches in {
        (8, "raw"): True,
        (8, "ema"): False,
        (12, "raw"): False,
        (4, "raw"): False,
    }.items():
        shutil.rmtree(models.folder, ignore_errors=True)
        header_fields = {"images_processed": header[0], "weights": header[1]}
        save_network(models.folder / "ab.safetensors", {"w": torch.zeros(1)}, header_fields)
        assert (models.match(best) == "") == matches == models.folder.exists(), header
    save_network(models.folder / "ab.safetensors", {"w": torch.zeros(1)}, header_fields)
    assert models.match({"value": None, "images": 4, "weights": "raw"})
    (models.folder).mkdir()
    (models.folder / "ab.safetensors").write_bytes(b"damaged")
    assert models.match(best)


# -- a repeated command


def test_a_complete_run_is_not_monitored_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = settings("pix2pix", data, tmp_path, validate={"every": 5})
    training.train(run)
    before, saves = log(tmp_path), []
    save = Checkpoints.save

    def record(self: Checkpoints, *arguments: Any) -> None:
        saves.append(arguments[1])
        save(self, *arguments)

    monkeypatch.setattr(Checkpoints, "save", record)
    training.train(run)
    assert log(tmp_path) == before and saves == [16]


def test_a_checkpoint_of_an_earlier_version_counts_as_monitored(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = settings("pix2pix", data, tmp_path, train={"save_every": 6}, validate={"every": 6})
    train_until_crash(monkeypatch, 7, run)
    state = load_state(newest_checkpoint(tmp_path))
    del state["monitor"]["norms"], state["monitor"]["monitored"]
    save_state(newest_checkpoint(tmp_path), state)
    training.train(run)
    assert [line["images"] for line in lines(tmp_path, "validation")] == [6, 12, 16]
