"""Two processes never write to the same run (promise C10)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from short_runs import arguments, write_pairs
from support import Child, command_error, fork, raises_user_error

from viceversa.checkpoint import lock_run
from viceversa.cli import main
from viceversa.data.open import Datasets
from viceversa.training import run as training_run


def lock_in_child(folder: Path) -> Child:
    """Return a child process that locks a run until it is killed."""

    def work(pipe: int) -> None:
        with lock_run(folder):
            os.write(pipe, b"held")
            time.sleep(60)

    child = fork(work)
    assert os.read(child.pipe, 4) == b"held"
    return child


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    first = lock_in_child(tmp_path)
    try:
        began = time.monotonic()
        with (
            raises_user_error("train.run", tmp_path),
            lock_run(tmp_path),
        ):
            pass
        assert time.monotonic() - began < 1
    finally:
        first.kill()
        first.output()
    with lock_run(tmp_path):  # the lock of a killed process does not remain
        pass


def test_the_command_refuses_a_second_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = lock_in_child(tmp_path)
    try:
        began = time.monotonic()
        message = command_error(capsys, "train", "pix2pix", "no/data", "--train.run", tmp_path)
        assert f"another process trains in {tmp_path}" in message
        assert time.monotonic() - began < 3
    finally:
        first.kill()
        first.output()


@pytest.mark.slow
def test_a_second_command_is_refused_while_the_first_reads_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, both, alone = write_pairs(tmp_path / "data"), tmp_path / "both", tmp_path / "alone"
    cache_on_disk = ["--data.cache", "disk"]
    main(arguments(data, alone, epochs=1) + cache_on_disk)
    real_open = training_run.open_run_data

    def read_slowly(*call_arguments: Any) -> Datasets:
        os.write(call_arguments[-1], b"reading")
        time.sleep(1.5)
        return real_open(*call_arguments[:-1])

    def first(pipe: int) -> None:
        patch = pytest.MonkeyPatch()
        patch.setattr(
            training_run,
            "open_run_data",
            lambda *call_arguments: read_slowly(*call_arguments, pipe),
        )
        main(arguments(data, both, epochs=1) + cache_on_disk)

    child = fork(first)
    assert os.read(child.pipe, 7) == b"reading"
    monkeypatch.setattr(training_run, "open_run_data", None)  # not reached by the second
    monkeypatch.setattr(training_run, "seed_everything", None)
    other = [*arguments(data, both, epochs=1, width=4), *cache_on_disk, "--train.seed", "3"]
    assert f"another process trains in {both}" in command_error(capsys, *other)
    assert child.wait(60) == 0
    weights, expected = (load_file(run / "ab.safetensors") for run in (both, alone))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    caches = [(run / "cache" / "images.bin").read_bytes() for run in (both, alone)]
    assert caches[0] == caches[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "invalid", [["no/data"], ["{data}", "--train.batch_size", "1", "--generator.depth", "6"]]
)
def test_a_refused_run_leaves_no_folder(
    invalid: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_pairs(tmp_path / "data")
    data_options = [word.format(data=data) for word in invalid]
    for run in (tmp_path / "runs" / "deep" / "new", tmp_path / "there"):
        (tmp_path / "there").mkdir(exist_ok=True)
        options = ["--data.load_size", "18", "--data.crop_size", "16", "--train.run", run]
        command_error(capsys, "train", "pix2pix", *data_options, *options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "there"]


def test_temporary_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    temporary = [
        "ab.safetensors.123.tmp",
        "cache/images.bin.4.tmp",
        "checkpoints/1.safetensors.5.tmp",
    ]
    other_files = ["notes.tmp", "cache/images.bin"]
    for name in temporary + other_files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with lock_run(tmp_path):
        remaining = {
            str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
        }
    assert remaining == {*other_files, ".lock"}


def test_files_are_kept_when_a_run_ends_with_an_error(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "new"
    with pytest.raises(RuntimeError), lock_run(run):
        (run / "log.jsonl").write_text("")
        raise RuntimeError
    assert sorted(os.listdir(run)) == [".lock", "log.jsonl"]


def test_control_a_lock_file_remains_after_its_process_is_killed(tmp_path: Path) -> None:
    def naive() -> None:
        os.close(os.open(tmp_path / "pid", os.O_CREAT | os.O_EXCL))

    child = fork(lambda pipe: (naive(), os.write(pipe, b"held"), time.sleep(60)))
    assert os.read(child.pipe, 4) == b"held"
    child.kill()
    child.output()
    with pytest.raises(FileExistsError):
        naive()
