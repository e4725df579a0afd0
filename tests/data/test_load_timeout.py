"""Test the time limit for loading a file: wall time, without periods when the process stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures._base import DoneAndNotDoneFutures
from pathlib import Path

import pytest
from support import noise_pairs

from viceversa.data import cache
from viceversa.data.cache import TICK, LoadTimeout, result_within


def test_results_and_errors_are_passed_on() -> None:
    done: Future[int] = Future()
    done.set_result(3)
    assert result_within(done, 0.0) == result_within(done, 1.0) == 3
    failed: Future[int] = Future()
    failed.set_exception(TimeoutError("of the file system"))
    with pytest.raises(TimeoutError, match="of the file system"):  # not the limit
        result_within(failed, 1.0)
    with ThreadPoolExecutor(1) as pool:
        assert result_within(pool.submit(lambda: time.sleep(3 * TICK) or 4), 60.0) == 4  # type: ignore[func-returns-value]


@pytest.mark.parametrize("seconds", [0.1, 0.6])
def test_missing_result_is_a_timeout(seconds: float) -> None:
    began = time.monotonic()
    with pytest.raises(LoadTimeout):
        result_within(Future(), seconds)
    assert seconds <= time.monotonic() - began < seconds + 5


# (seconds that each tick takes, limit, whether a result after 50 ticks arrives in time)
@pytest.mark.parametrize(
    ("gap", "limit", "in_time"),
    [
        (TICK, 30.0, True),
        (3600.0, 60.0, True),
        (3600.0, 30.0, False),
        (TICK, 10.0, False),
    ],
)
def test_each_gap_counts_as_a_second(
    gap: float, limit: float, in_time: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, future = [0.0], Future[str]()

    def ticking(futures: object, timeout: float) -> DoneAndNotDoneFutures[str]:
        clock[0] += gap
        clock.append(0.0)
        if len(clock) > 50:
            future.set_result("late")
        return DoneAndNotDoneFutures({future} if future.done() else set(), set())

    monkeypatch.setattr(cache, "wait", ticking)
    monkeypatch.setattr(cache.time, "monotonic", lambda: clock[0])
    if in_time:
        assert result_within(future, limit) == "late"
    else:
        with pytest.raises(LoadTimeout):
            result_within(future, limit)


CHILD = """
import sys, threading, time
from concurrent.futures import Future
from viceversa.data.cache import LoadTimeout, result_within
print("waiting", flush=True)
began = time.monotonic()
try:
    result_within(Future(), 3.0)
except LoadTimeout:
    print(time.monotonic() - began)
"""


def test_time_of_a_stopped_process_does_not_count() -> None:
    """SIGSTOP for 4 seconds: the limit of 3 s is reached at least 2 s after SIGCONT."""
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "waiting\n"
    threading.Event().wait(1)  # until the child waits
    os.kill(child.pid, signal.SIGSTOP)
    threading.Event().wait(4)
    os.kill(child.pid, signal.SIGCONT)
    assert float(child.communicate(timeout=30)[0]) > 5.5


HANGING = """
import sys, threading, time
from viceversa.data import cache
from viceversa.cli import main
real = cache.load
def load(source, *rest):
    if "01.png" in str(source.path) and threading.current_thread().name.startswith("decode"):
        time.sleep(10**6)
    return real(source, *rest)
cache.load, cache.LOAD_TIMEOUT = load, 1.0
main()
"""


ARGUMENTS = (
    "train pix2pix data --generator.width 2 --generator.depth 2 --discriminator.width 2 "
    "--discriminator.layers 1 --data.load_size 18 --data.crop_size 16 --data.workers 1 "
    "--data.cache off --train.device cpu --train.precision fp32 --train.samples 0 "
    "--train.epochs 2 --validate.every 0 --validate.health 0 --train.run run"
)


def test_run_ends_although_a_read_never_returns(tmp_path: Path) -> None:
    """The image is left out, and the process does not wait for the blocked thread."""
    noise_pairs(tmp_path / "data", 3, 20)
    done = subprocess.run(
        [sys.executable, "-c", HANGING, *ARGUMENTS.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert "did not load within 1 s" in done.stdout + done.stderr, done
    assert (tmp_path / "run" / "ab.safetensors").exists() == (done.returncode == 0)
