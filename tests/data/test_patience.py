"""The time limit of a file counts wall time, without gaps in which the process stood still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from viceversa.data import patience
from viceversa.data.patience import TICK, TooLate, patient


def test_results_and_errors_come_through() -> None:
    done: Future[int] = Future()
    done.set_result(3)
    assert patient(done, 0.0) == patient(done, 1.0) == 3
    failed: Future[int] = Future()
    failed.set_exception(TimeoutError("of the file system"))
    with pytest.raises(TimeoutError, match="of the file system"):  # not taken for the limit
        patient(failed, 1.0)
    with ThreadPoolExecutor(1) as pool:
        assert patient(pool.submit(lambda: time.sleep(3 * TICK) or 4), 60.0) == 4  # type: ignore[func-returns-value]


@pytest.mark.parametrize("seconds", [0.1, 0.6])
def test_a_result_that_never_comes_is_not_waited_for(seconds: float) -> None:
    began = time.monotonic()
    with pytest.raises(TooLate):
        patient(Future(), seconds)
    assert seconds <= time.monotonic() - began < seconds + 5


# Gaps: (seconds that each tick takes, limit, whether a result after 50 ticks is waited for)
@pytest.mark.parametrize(("gap", "limit", "waited"), [
    (TICK, 30.0, True), (3600.0, 60.0, True), (3600.0, 30.0, False), (TICK, 10.0, False),
])  # fmt: skip
def test_gaps_count_as_a_second_each(
    gap: float, limit: float, waited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, future = [0.0], Future[str]()

    class Result:
        done: set[Future[str]] = set()

    def ticking(futures: object, timeout: float) -> object:
        clock[0] += gap
        clock.append(0.0)
        if len(clock) > 50:
            future.set_result("late")
            Result.done = {future}
        return Result

    monkeypatch.setattr(patience, "wait", ticking)
    monkeypatch.setattr(patience.time, "monotonic", lambda: clock[0])
    if waited:
        assert patient(future, limit) == "late"
    else:
        with pytest.raises(TooLate):
            patient(future, limit)


CHILD = """
import sys, time
from concurrent.futures import Future
from viceversa.data.patience import TooLate, patient
print("waiting", flush=True)
began = time.monotonic()
try:
    patient(Future(), 3.0)
except TooLate:
    print(time.monotonic() - began)
"""


def test_a_stopped_process_is_not_blamed() -> None:
    """A real SIGSTOP of 4 seconds: the limit of 3 comes at least 2 seconds after SIGCONT."""
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "waiting\n"
    os.kill(child.pid, signal.SIGSTOP)
    threading.Event().wait(4)
    os.kill(child.pid, signal.SIGCONT)
    assert float(child.communicate(timeout=30)[0]) > 5.5
