"""A folder in which a run goes on, or begins anew: what is forgotten, and what stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from monitored_runs import data_set, lines, settings

from viceversa.cli import main
from viceversa.reports.run_folder import RunFolder
from viceversa.training import loop as training

EACH = {"log_every": 6, "sample_every": 6, "epochs": 2}  # of 6 images an epoch


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("anew"))


def ran(data: Path, run: Path, validate: dict[str, Any] | None = None, **train: Any) -> Path:
    return training.train(settings(
        "pix2pix", data, run, train=EACH | train, validate=validate or {"every": 6}
    ))  # fmt: skip


def sheets(run: Path, kind: str = "samples") -> list[int]:
    return sorted(int(path.stem) for path in (run / kind).glob("*.png"))


def test_sheets_of_a_run_before_are_forgotten(data: Path, tmp_path: Path) -> None:
    run = ran(data, tmp_path / "run", epochs=4)
    assert sheets(run) == sheets(run, "patch_maps") == [0, 6, 12, 18, 24]
    (run / "samples" / "mine.png").write_bytes(b"kept")
    shutil.rmtree(run / "checkpoints")
    ran(data, run, epochs=1)
    assert sheets(run, "patch_maps") == [0, 6]
    assert (run / "samples" / "mine.png").read_bytes() == b"kept"
    assert RunFolder(run).images == 6


def test_a_log_with_bytes_that_are_no_text_is_gone_on_with(data: Path, tmp_path: Path) -> None:
    run = ran(data, tmp_path / "run")
    log = run / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"\xff\xfe broken\n" + whole)
    ran(data, run, epochs=3)
    told = [line["images"] for line in lines(run, "losses")]
    assert told == [6, 12, 18] and log.read_bytes().startswith(whole)


def test_when_a_run_began_stays_where_it_goes_on(data: Path, tmp_path: Path) -> None:
    run = ran(data, tmp_path / "run")
    path = run / "machine.json"
    long_ago = "2001-02-03T04:05:06+00:00"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"began": long_ago}))
    ran(data, run, epochs=3)
    about = json.loads(path.read_text())
    assert about["began"] == long_ago and about["total_images"] == 18
    shutil.rmtree(run / "checkpoints")  # ... and not where it begins anew
    ran(data, run, epochs=1)
    assert json.loads(path.read_text())["began"] > long_ago


def test_a_page_that_cannot_be_written_ends_no_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    (run / "report.html").mkdir(parents=True)
    ran(data, run)
    assert "report.html could not be written" in capsys.readouterr().out
    assert [line["images"] for line in lines(run, "losses")] == [6, 12]


def test_a_run_out_of_patience_is_finished(data: Path, tmp_path: Path) -> None:
    run = ran(data, tmp_path / "run", {"every": 6, "patience": 2}, epochs=9, lr=0.0)
    assert lines(run, "losses")[-1]["images"] == 18 and RunFolder(run).finished
    other = ran(data, tmp_path / "other", {"every": 6, "patience": 9}, epochs=3, lr=0.0)
    config = json.loads((other / "config.json").read_text())
    config["train"]["epochs"] = 9  # as if it had only come so far
    (other / "config.json").write_text(json.dumps(config))
    (other / "machine.json").unlink()
    assert not RunFolder(other).finished


def test_compare_writes_over_no_file_but_a_page(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ran(data, tmp_path / "run")
    before = (run / "config.json").read_bytes()
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(run), str(run), "-o", str(run / "config.json")])
    assert ended.value.code == 2 and (run / "config.json").read_bytes() == before
    assert "config.json is not a page; its name must end in .html" in capsys.readouterr().err
