"""Two trainers never write to one run (promise C10)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import arguments, make_data
from safetensors.torch import load_file
from support import Child, fork

from viceversa.checkpoint import lock_run
from viceversa.cli import main
from viceversa.data.open import Datasets
from viceversa.errors import UserError
from viceversa.training import run as training_run


def holder(folder: Path) -> Child:
    """A process that holds a run until it is killed."""

    def work(pipe: int) -> None:
        with lock_run(folder):
            os.write(pipe, b"held")
            time.sleep(60)

    child = fork(work)
    assert os.read(child.pipe, 4) == b"held"
    return child


def test_a_second_writer_is_refused_at_once_until_the_first_is_gone(tmp_path: Path) -> None:
    first = holder(tmp_path)
    try:
        began = time.monotonic()
        with (
            pytest.raises(UserError, match=f"another process trains in {tmp_path}"),
            lock_run(tmp_path),
        ):
            pass
        assert time.monotonic() - began < 1
    finally:
        first.kill()
        first.output()
    with lock_run(tmp_path):  # a lock of the dead holds nobody up
        pass


def test_the_command_refuses_a_second_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = holder(tmp_path)
    try:
        began = time.monotonic()
        with pytest.raises(SystemExit) as ended:
            main(["train", "pix2pix", "no/data", "--train.run", str(tmp_path)])
        assert ended.value.code == 2 and time.monotonic() - began < 3
        assert f"another process trains in {tmp_path}" in capsys.readouterr().err
    finally:
        first.kill()
        first.output()


def test_of_two_commands_for_a_new_folder_the_second_is_refused_while_the_first_reads_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, both, alone = make_data(tmp_path / "data"), tmp_path / "both", tmp_path / "alone"
    cached = ["--data.cache", "disk"]
    main(arguments(data, alone, epochs=1) + cached)
    reads = training_run.open_data

    def read_slowly(*given: Any) -> Datasets:
        os.write(given[-1], b"reading")
        time.sleep(1.5)
        return reads(*given[:-1])

    def first(pipe: int) -> None:
        patch = pytest.MonkeyPatch()
        patch.setattr(training_run, "open_data", lambda *given: read_slowly(*given, pipe))
        main(arguments(data, both, epochs=1) + cached)

    child = fork(first)
    assert os.read(child.pipe, 7) == b"reading"
    monkeypatch.setattr(training_run, "open_data", None)  # the second does not come so far
    monkeypatch.setattr(training_run, "seed_everything", None)
    with pytest.raises(SystemExit) as ended:
        main([*arguments(data, both, epochs=1, width=4), *cached, "--train.seed", "3"])
    assert ended.value.code == 2
    assert f"another process trains in {both}" in capsys.readouterr().err
    assert child.wait(60) == 0
    weights, expected = (load_file(run / "ab.safetensors") for run in (both, alone))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert (both / "cache" / "images.bin").read_bytes() == (
        alone / "cache" / "images.bin"
    ).read_bytes()


@pytest.mark.parametrize("mistake", [["no/data"], ["{data}", "--train.batch_size", "1",
                                                  "--generator.depth", "6"]])  # fmt: skip
def test_a_refused_run_leaves_no_folder(mistake: list[str], tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    words = [word.format(data=data) for word in mistake]
    for run in (tmp_path / "runs" / "deep" / "new", tmp_path / "there"):
        (tmp_path / "there").mkdir(exist_ok=True)
        with pytest.raises(SystemExit) as ended:
            main(["train", "pix2pix", *words, "--data.load_size", "18", "--data.crop_size", "16",
                  "--train.run", str(run)])  # fmt: skip
        assert ended.value.code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "there"]


def test_temporary_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    left = ["ab.safetensors.123.tmp", "cache/images.bin.4.tmp", "checkpoints/1.safetensors.5.tmp"]
    theirs = ["notes.tmp", "cache/images.bin"]
    for name in left + theirs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with lock_run(tmp_path):
        there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {*theirs, ".lock"}


def test_what_was_written_stays_when_a_run_ends_in_an_error(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "new"
    with pytest.raises(RuntimeError), lock_run(run):
        (run / "log.jsonl").write_text("")
        raise RuntimeError
    assert sorted(os.listdir(run)) == [".lock", "log.jsonl"]


def test_a_file_that_stands_for_a_lock_outlives_who_is_killed(tmp_path: Path) -> None:
    def naive() -> None:
        os.close(os.open(tmp_path / "pid", os.O_CREAT | os.O_EXCL))

    child = fork(lambda pipe: (naive(), os.write(pipe, b"held"), time.sleep(60)))
    assert os.read(child.pipe, 4) == b"held"
    child.kill()
    child.output()
    with pytest.raises(FileExistsError):
        naive()
