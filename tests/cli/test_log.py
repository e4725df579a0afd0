"""`viceversa log`: tables and CSV of a run's log."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import WARNING, command_error, command_output, common, log_lines, write_log, write_run

FIXTURE = Path(__file__).parents[1] / "fixtures" / "nested_log" / "runs" / "pix2pix"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("log") / "run", grids=0)


def rows(text: str) -> list[dict[str, str]]:
    """Parse CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_every_name_and_value_of_the_log(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = rows(command_output(capsys, "log", run, "--csv"))
    lines = log_lines(run)
    assert len(entries) == len(lines) > 40
    for row, line in zip(entries, lines, strict=True):
        assert {name: text for name, text in row.items() if text} == {
            name: str(value) for name, value in line.items()
        }


def test_null_is_an_empty_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path, [common("train", 5) | {"loss.g": None, "loss.d": 0.0}])
    (row,) = rows(command_output(capsys, "log", tmp_path, "--csv"))
    assert (row["loss.g"], row["loss.d"]) == ("", "0.0")


@pytest.mark.parametrize("kinds", [["validation"], ["train", "diagnostic"]])
def test_entries_are_selected_by_kind_and_number(
    kinds: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = rows(command_output(capsys, "log", run, "--csv", "--kind", *kinds))
    lines = [line for line in log_lines(run) if line["kind"] in kinds]
    assert [row["images"] for row in entries] == [str(line["images"]) for line in lines]
    entries = rows(command_output(capsys, "log", run, "--csv", "--last", "1", "--kind", *kinds))
    assert sorted(row["kind"] for row in entries) == sorted(kinds)
    newest = {kind: log_lines(run, kind)[-1]["images"] for kind in kinds}
    assert {row["kind"]: int(row["images"]) for row in entries} == newest


def test_tables_show_the_last_entries_of_each_kind(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = command_output(capsys, "log", run).splitlines()
    titles = [i for i, line in enumerate(lines) if line.endswith(":")]
    assert [lines[i] for i in titles] == ["train:", "validation:", "diagnostic:"]
    header, *table = (line.split() for line in lines[titles[0] + 2 : titles[1] - 1])
    assert header[0] == "time" and len(table) == 20
    newest = log_lines(run, "train")[-1]
    last = dict(zip(header[1:], table[-1][2:], strict=True))  # the time is two words
    assert last["images"] == "8000" and last["loss.g_l1"] == f"{newest['loss.g_l1']:.4g}"
    all_lines = command_output(capsys, "log", run, "--last", "0").splitlines()
    assert len(all_lines) - len(lines) == len(log_lines(run, "train")) - 20


@pytest.mark.slow
def test_a_table_fits_the_terminal(run: Path, tmp_path: Path) -> None:
    """The tables of a narrow terminal are split into blocks that begin with the images."""
    leader, follower = pty.openpty()
    words = [sys.executable, "-m", "viceversa", "log", str(run), "--last", "2"]
    with os.fdopen(follower, "w") as terminal:
        environment = os.environ | {"COLUMNS": "70"}
        subprocess.run(words, stdout=terminal, check=True, env=environment)
    text = os.read(leader, 100_000).decode().replace("\r\n", "\n")
    os.close(leader)
    assert max(map(len, text.splitlines())) <= 70 + len("diagnostic")  # a long text is one column
    train = text.split("validation:")[0]
    assert train.count(" images") + train.count("\nimages") >= 2 and "grad_norm.generator" in train


def test_csv_is_written_to_a_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = command_output(capsys, "log", run, "--csv")
    out = tmp_path / "log.csv"
    assert command_output(capsys, "log", run, "-o", out) == f"{len(rows(text))} entries: {out}\n"
    assert out.read_text() == text


def test_an_old_log_is_converted_and_not_rewritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(FIXTURE, tmp_path / "run")
    before = (run / "log.jsonl").read_bytes()
    entries = rows(command_output(capsys, "log", run, "--csv", "--kind", "train"))
    old = [json.loads(line) for line in before.decode().splitlines()]
    losses = [str(line["losses"]["g_l1"]) for line in old if "losses" in line]
    assert [row["loss.g_l1"] for row in entries] == losses
    assert {row["step"] for row in entries} == {""}
    assert (run / "log.jsonl").read_bytes() == before


def test_an_incomplete_last_line_is_ignored(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    text = command_output(capsys, "log", copy, "--csv")
    with (copy / "log.jsonl").open("a") as log:
        log.write('{"kind": "train", "time": 1.75e9, "ima')
    assert command_output(capsys, "log", copy, "--csv") == text


def test_a_run_without_entries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{}")
    text = command_output(capsys, "log", tmp_path, "--kind", "validation")
    assert text == f"{tmp_path / 'log.jsonl'} has no entry of the kind validation yet\n"
    assert command_output(capsys, "log", tmp_path, "--csv").startswith("kind,time,step,")


def test_control_characters_in_the_log_are_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile: dict[str, Any] = {"diagnostic.text": "\x1b[2J\x07", "loss.\x1b[2J": 1.0}
    write_log(tmp_path, [common("diagnostic", 5) | WARNING | hostile])
    for options in ([], ["--csv"]):
        text = command_output(capsys, "log", tmp_path, *options)
        assert "\x1b" not in text and "\x07" not in text and r"\x1b[2J" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "log.txt"], "log.txt is not a CSV file; its name must end in .csv"),
        (["--last", "-1"], "--last must be at least 0, not -1"),
        (["--kind", "loss"], "train"),
    ],
)
def test_invalid_options(
    options: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "log.jsonl").read_bytes()
    assert message in command_error(capsys, "log", run, *options)
    assert (run / "log.jsonl").read_bytes() == before


def test_folders_without_a_run_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is not a run folder" in command_error(capsys, "log", tmp_path)
    assert "does not exist" in command_error(capsys, "log", tmp_path / "nothing")


def test_a_log_that_cannot_be_read_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "log.jsonl").mkdir()
    assert "log.jsonl cannot be read: " in command_error(capsys, "log", tmp_path)


def test_the_data_folder_is_not_written_to(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    data = tmp_path / "data"
    data.mkdir()
    config = json.loads((copy / "config.json").read_text())
    config["data"]["path"] = str(data)
    (copy / "config.json").write_text(json.dumps(config))
    assert "is inside the data folder" in command_error(capsys, "log", copy, "-o", data / "x.csv")
    assert list(data.iterdir()) == []
    assert command_output(capsys, "log", copy, "-o", tmp_path / "x.csv")  # negative control


@pytest.mark.slow
def test_no_torch_is_imported(run: Path) -> None:
    code = (
        "import sys; from viceversa.cli import main\n"
        f"main(['log', {str(run)!r}]); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
