"""Training runs that get a stop signal at a given or random instant."""

from __future__ import annotations

import os
import random
import signal
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # loaded by the first optimizer: here, instead of in each child
from short_runs import arguments
from support import Child, fork

from viceversa.checkpoint import Checkpoints
from viceversa.cli import main
from viceversa.training.log import Log
from viceversa.training.loop import train as train  # loaded here instead of in each child

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 138}
LATEST = 0.25  # seconds after the first step, which are some dozens of steps
LONG_STEP = 20.0  # seconds of a step that a second signal must not wait for


@dataclass
class Stop:
    """Result of a run that got a stop signal."""

    signal: int
    code: int | None
    seconds: float
    """From the signal to the end."""
    reported: int
    """Images at the last step."""
    saved: int
    """Images of the newest complete checkpoint."""

    @property
    def durable(self) -> bool:
        return self.code == CODES[signal.Signals(self.signal)] and self.reported == self.saved > 0


def start_training(data: Path, run: Path, step_seconds: float = 0.0) -> Child:
    """Run `viceversa train` in a child that reports each step; a step takes `step_seconds` more."""

    def work(pipe: int) -> None:
        torch.set_num_threads(1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with (run.parent / f"{run.name}.output").open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        step = Log.add

        def add_and_report(self: Log, *details: Any) -> None:
            step(self, *details)
            os.write(pipe, struct.pack("<q", self.done))
            time.sleep(step_seconds)

        Log.add = add_and_report  # type: ignore[method-assign]
        main(arguments(data, run, epochs=10**6))

    return fork(work)


def stop_run(data: Path, run: Path, number: int, after: float) -> Stop:
    """Send a signal `after` seconds after the first step."""
    child = start_training(data, run)
    first = os.read(child.pipe, 8)
    time.sleep(after)
    began = time.monotonic()
    child.send(number)
    code = child.wait(30)
    reported = (first + child.output())[-8:]
    found = Checkpoints(run / "checkpoints", 3).latest(lambda text: None)
    images = found[0]["images"] if found else 0
    return Stop(number, code, child.ended_at - began, struct.unpack("<q", reported)[0], images)


def stop_twice(data: Path, run: Path, number: int) -> tuple[int | None, float]:
    """Send a signal twice within a long step; return the exit code and the seconds it took."""
    child = start_training(data, run, step_seconds=LONG_STEP)
    os.read(child.pipe, 8)
    child.send(number)
    time.sleep(0.1)
    assert not child.poll(), "the first signal did not wait for the step"
    began = time.monotonic()
    child.send(number)
    code = child.wait(LONG_STEP)
    child.output()
    return code, child.ended_at - began


def stop_runs(data: Path, folder: Path, trials: int, seed: int) -> list[Stop]:
    """Stop `trials` runs at random instants; eight of ten signals are SIGTERM."""
    rng = random.Random(seed)
    others = {8: signal.SIGINT, 9: signal.SIGUSR1}
    return [
        stop_run(
            data,
            folder / f"run-{trial}",
            others.get(trial % 10, signal.SIGTERM),
            rng.uniform(0, LATEST),
        )
        for trial in range(trials)
    ]
