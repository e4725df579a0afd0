"""Resuming or restarting in the folder of an earlier run: what is kept, what is deleted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from monitored_runs import lines, noise_splits, settings
from support import command_error

from viceversa.reports.run_folder import RunFolder
from viceversa.training import loop as training

EACH = {"log_every": 6, "sample_every": 6, "epochs": 2}  # an epoch has 6 images


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_splits(tmp_path_factory.mktemp("restart"))


def train_run(data: Path, run: Path, validate: dict[str, Any] | None = None, **train: Any) -> Path:
    return training.train(
        settings("pix2pix", data, run, train=EACH | train, validate=validate or {"every": 6})
    )


def sample_images(run: Path, kind: str = "samples") -> list[int]:
    return sorted(int(path.stem) for path in (run / kind).glob("*.png"))


def test_sample_grids_of_an_earlier_run_are_deleted(data: Path, tmp_path: Path) -> None:
    run = train_run(data, tmp_path / "run", epochs=4)
    assert sample_images(run) == sample_images(run, "patch_maps") == [0, 6, 12, 18, 24]
    (run / "samples" / "mine.png").write_bytes(b"kept")
    shutil.rmtree(run / "checkpoints")
    train_run(data, run, epochs=1)
    assert sample_images(run, "patch_maps") == [0, 6]
    assert (run / "samples" / "mine.png").read_bytes() == b"kept"
    assert RunFolder(run).images == 6


def test_a_log_with_invalid_bytes_is_continued(data: Path, tmp_path: Path) -> None:
    run = train_run(data, tmp_path / "run")
    log = run / "log.jsonl"
    intact = log.read_bytes()
    log.write_bytes(b"\xff\xfe broken\n" + intact)
    train_run(data, run, epochs=3)
    images = [line["images"] for line in lines(run, "train")]
    assert images == [6, 12, 18] and log.read_bytes().startswith(intact)


def test_the_start_time_is_kept_when_resuming(data: Path, tmp_path: Path) -> None:
    run = train_run(data, tmp_path / "run")
    path = run / "machine.json"
    long_ago = "2001-02-03T04:05:06+00:00"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"began": long_ago}))
    train_run(data, run, epochs=3)
    machine = json.loads(path.read_text())
    assert machine["began"] == long_ago and machine["total_images"] == 18
    shutil.rmtree(run / "checkpoints")  # a restarted run has a new start time
    train_run(data, run, epochs=1)
    assert json.loads(path.read_text())["began"] > long_ago


def test_a_report_that_cannot_be_written_does_not_stop_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    (run / "report.html").mkdir(parents=True)
    train_run(data, run)
    assert "report.html could not be written" in capsys.readouterr().out
    assert [line["images"] for line in lines(run, "train")] == [6, 12]


def test_a_run_out_of_patience_is_finished(data: Path, tmp_path: Path) -> None:
    run = train_run(data, tmp_path / "run", {"every": 6, "patience": 2}, epochs=9, lr=0.0)
    assert lines(run, "train")[-1]["images"] == 18 and RunFolder(run).finished
    other = train_run(data, tmp_path / "other", {"every": 6, "patience": 9}, epochs=3, lr=0.0)
    config = json.loads((other / "config.json").read_text())
    config["train"]["epochs"] = 9  # as if the run had been stopped
    (other / "config.json").write_text(json.dumps(config))
    (other / "machine.json").unlink()
    assert not RunFolder(other).finished


def test_compare_overwrites_only_pages(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_run(data, tmp_path / "run")
    before = (run / "config.json").read_bytes()
    message = command_error(capsys, "compare", run, run, "-o", run / "config.json")
    assert "config.json is neither a page" in message
    assert (run / "config.json").read_bytes() == before
