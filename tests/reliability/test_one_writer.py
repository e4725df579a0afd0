"""Two trainers never write to one run (promise C10)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from forks import Child, fork

from viceversa.checkpoint import claim
from viceversa.cli import main
from viceversa.errors import UserError


def holder(folder: Path) -> Child:
    """A process that holds a run until it is killed."""

    def work(pipe: int) -> None:
        lock = claim(folder)
        os.write(pipe, b"held")
        time.sleep(60)
        lock.release()

    child = fork(work)
    assert os.read(child.pipe, 4) == b"held"
    return child


def test_a_second_writer_is_refused_at_once_until_the_first_is_gone(tmp_path: Path) -> None:
    first = holder(tmp_path)
    try:
        began = time.monotonic()
        with pytest.raises(UserError, match=f"another process trains in {tmp_path}"):
            claim(tmp_path)
        assert time.monotonic() - began < 1
    finally:
        first.kill()
        first.said()
    claim(tmp_path).release()  # a lock of the dead holds nobody up


def test_the_command_refuses_a_second_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = holder(tmp_path)
    try:
        began = time.monotonic()
        with pytest.raises(SystemExit) as ended:
            main(["train", "pix2pix", "no/data", "--train.run", str(tmp_path)])
        assert ended.value.code == 2 and time.monotonic() - began < 1
        assert f"another process trains in {tmp_path}" in capsys.readouterr().err
    finally:
        first.kill()
        first.said()


def test_a_file_that_stands_for_a_lock_outlives_who_is_killed(tmp_path: Path) -> None:
    def naive() -> None:
        os.close(os.open(tmp_path / "pid", os.O_CREAT | os.O_EXCL))

    child = fork(lambda pipe: (naive(), os.write(pipe, b"held"), time.sleep(60)))
    assert os.read(child.pipe, 4) == b"held"
    child.kill()
    child.said()
    with pytest.raises(FileExistsError):
        naive()
