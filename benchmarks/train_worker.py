"""Worker processes of train_speed.py, one for each variant, and the pipe to them.

`race` starts several workers and sends requests to each in turn; run as a script, this file is a
worker. It imports torch only after the process settings are made: some settings of the command must
come first, and the reference has none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, NamedTuple

from train_job import Job

PAUSE = 0.05  # seconds until the threads of the previous worker sleep


class WorkerError(Exception):
    """A worker failed, for the reason in the message."""


class Worker:
    """A process that answers requests and is idle otherwise. Methods raise WorkerError."""

    def __init__(self, job: Job):
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about: dict[str, Any] = {}

    def prepare(self) -> None:
        """Build the networks and warm up.

        Workers load torch at the same time, but prepare in turn, so that their measurements are
        not disturbed.
        """
        self.about = self.ask("prepare")

    def ask(self, request: str) -> Any:
        """Return the answer to a request: `prepare`, `turn`, `memory` or `kernels`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"its process ended with code {self._process.wait()}") from None
        return self._answer()

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"its process ended with code {self._process.wait()}")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            self.end()
            raise WorkerError(answer["error"])
        return answer


class Measurement(NamedTuple):
    """Answers of a worker: its description, those of each turn, memory and kernels."""

    about: dict[str, Any]
    turns: list[Any]
    memory: int
    kernels: int | None


def race(jobs: dict[str, Job], turns: int, limit: float = float("inf")) -> dict[str, Measurement]:
    """Start a worker for each job, measure in turns, and end them; leave out those that fail.

    After `limit` seconds, no further worker is prepared and no further turn starts.
    """
    start = time.monotonic()
    workers = {name: Worker(job) for name, job in jobs.items()}
    turns_of: dict[str, list[Any]] = {name: [] for name in jobs}
    for name in list(workers):
        began = time.monotonic()
        try:
            if began > start + 0.8 * limit:  # the rest is for turns
                raise WorkerError("no time is left")
            workers[name].prepare()
            print(f"{name}: ready after {time.monotonic() - began:.1f} s", flush=True)
        except WorkerError as error:
            print(f"{name} is left out: {error}", flush=True)
            workers.pop(name).end()
    for turn in range(turns):
        if turn and time.monotonic() > start + limit:
            break
        names = list(workers)
        first = turn % max(1, len(names))  # so that the order changes
        for name in names[first:] + names[:first]:
            time.sleep(PAUSE)
            try:
                turns_of[name].append(workers[name].ask("turn"))
            except WorkerError as error:
                print(f"{name} is left out: {error}")
                del workers[name]
    measurements = {
        name: Measurement(worker.about, turns_of[name], worker.ask("memory"), worker.ask("kernels"))
        for name, worker in workers.items()
    }
    for worker in workers.values():
        worker.end()
    return measurements


def main() -> None:
    values = json.loads(sys.argv[1])
    job = Job(**{**values, "precisions": tuple(values["precisions"])})
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # keep output of libraries out of the answers
    try:
        about = settings_of_the_process(job)
        requests: dict[str, Callable[[], Any]] = {}
        for line in sys.stdin:
            if line.strip() == "prepare":
                more, requests = prepared(job)
                pipe.write(json.dumps({**about, **more}) + "\n")
            else:
                pipe.write(json.dumps(requests[line.strip()]()) + "\n")
    except Exception as error:
        pipe.write(json.dumps({"error": (str(error) or repr(error)).splitlines()[0]}) + "\n")
        sys.exit(1)


def settings_of_the_process(job: Job) -> dict[str, Any]:
    """Apply the process settings of the command, load torch, and return the settings."""
    about: dict[str, Any] = {}
    if job.kind != "reference":
        from viceversa.environment import keep_freed_memory, limit_thread_spinning

        limit_thread_spinning()
        about["keeps_freed_memory"] = keep_freed_memory()
    names = sorted(name for name in os.environ if name.startswith(("OMP_", "GOMP_", "MALLOC_")))
    about["environment"] = {name: os.environ[name] for name in names}

    import torch
    import train_variants  # noqa: F401

    if job.threads:
        torch.set_num_threads(job.threads)
    return {**about, "threads": torch.get_num_threads()}


def prepared(job: Job) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """Build and warm up a job; return its description and the requests it answers."""
    import torch
    from train_variants import WORK

    from viceversa.runtime.device import peak_memory

    about, requests = WORK[job.kind](job)
    answers = {
        "memory": lambda: peak_memory(torch.device(job.device)),
        "kernels": lambda: None,
        **requests,
    }
    return about, answers


if __name__ == "__main__":
    main()
