"""A process of its own for each way to take a step; both ends of the pipe to it.

`race` starts several and asks each in turn; run as a script, this file is one of them. Nothing here
imports torch before a worker's own settings are made: our command makes some that must come first,
and the reference has none.
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

PAUSE = 0.05  # seconds until the threads of the one before have gone to sleep


class WorkerError(Exception):
    """What a worker could not do, in a sentence."""


class Worker:
    """A process that answers when it is asked, and else does nothing. Raises WorkerError."""

    def __init__(self, job: Job):
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about: dict[str, Any] = {}

    def prepare(self) -> None:
        """Build the networks and warm up. Several workers load torch at once, but prepare in turn:
        what they measure on the way is not disturbed."""
        self.about = self.ask("prepare")

    def ask(self, what: str) -> Any:
        """A `turn`, or the `memory` or the `kernels` it took."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"its process ended with code {self._process.wait()}") from None
        return self._answer()

    def end(self) -> None:
        """Let it go."""
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


class Taken(NamedTuple):
    """What a worker said: of itself, in each turn, and at the end."""

    about: dict[str, Any]
    turns: list[Any]
    memory: int
    kernels: int | None


def race(jobs: dict[str, Job], turns: int, limit: float = float("inf")) -> dict[str, Taken]:
    """Start a worker for each job, ask each in turn, and let them go; without those that fail.

    After `limit` seconds no other worker is prepared and no other turn begins.
    """
    start = time.monotonic()
    workers = {name: Worker(job) for name, job in jobs.items()}
    taken: dict[str, list[Any]] = {name: [] for name in jobs}
    for name in list(workers):
        began = time.monotonic()
        try:
            if began > start + 0.8 * limit:  # the rest is for the turns
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
        first = turn % max(1, len(names))  # so that none always follows the same one
        for name in names[first:] + names[:first]:
            time.sleep(PAUSE)
            try:
                taken[name].append(workers[name].ask("turn"))
            except WorkerError as error:
                print(f"{name} is left out: {error}")
                del workers[name]
    told = {
        name: Taken(worker.about, taken[name], worker.ask("memory"), worker.ask("kernels"))
        for name, worker in workers.items()
    }
    for worker in workers.values():
        worker.end()
    return told


def main() -> None:
    values = json.loads(sys.argv[1])
    job = Job(**{**values, "precisions": tuple(values["precisions"])})
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        about = settings_of_the_process(job)
        abilities: dict[str, Callable[[], Any]] = {}
        for line in sys.stdin:
            if line.strip() == "prepare":
                more, abilities = prepared(job)
                pipe.write(json.dumps({**about, **more}) + "\n")
            else:
                pipe.write(json.dumps(abilities[line.strip()]()) + "\n")
    except Exception as error:
        pipe.write(json.dumps({"error": (str(error) or repr(error)).splitlines()[0]}) + "\n")
        sys.exit(1)


def settings_of_the_process(job: Job) -> dict[str, Any]:
    """Make the settings of our command for its process, load torch, and report the settings."""
    about: dict[str, Any] = {}
    if job.kind != "reference":
        from viceversa.environment import keep_freed_memory, limit_thread_spinning

        limit_thread_spinning()
        about["keeps_freed_memory"] = keep_freed_memory()
    names = sorted(name for name in os.environ if name.startswith(("OMP_", "GOMP_", "MALLOC_")))
    about["environment"] = {name: os.environ[name] for name in names}

    import torch
    import train_ways  # noqa: F401

    if job.threads:
        torch.set_num_threads(job.threads)
    return {**about, "threads": torch.get_num_threads()}


def prepared(job: Job) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """Describe a job that is built and warmed up, and what it can be asked."""
    import torch
    from train_ways import WORK

    from viceversa.runtime.device import peak_memory

    about, abilities = WORK[job.kind](job)
    asked = {
        "memory": lambda: peak_memory(torch.device(job.device)),
        "kernels": lambda: None,
        **abilities,
    }
    return about, asked


if __name__ == "__main__":
    main()
