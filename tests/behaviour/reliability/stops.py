"""Training that is asked to stop, by a signal, at any instant."""

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
import torch._dynamo  # what optimizers load when they are first made: not anew in each child
from runs import arguments
from support import Child, fork

from viceversa.checkpoint import Checkpoints
from viceversa.cli import main
from viceversa.training.log import Log
from viceversa.training.loop import train as train  # loaded here, and not in each child

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 138}
SPAN = 0.25  # seconds after the first step: some dozens of steps
LONG = 20.0  # seconds of a step that a second signal must not wait for


@dataclass
class Stop:
    """How a run ended."""

    signal: int
    code: int | None
    seconds: float
    """From the signal to the end."""
    told: int
    """The images that the last step told of."""
    saved: int
    """The images of the newest checkpoint that is whole."""

    @property
    def durable(self) -> bool:
        return self.code == CODES[signal.Signals(self.signal)] and self.told == self.saved > 0


def trainer(data: Path, run: Path, slow: float = 0.0) -> Child:
    """`viceversa train` in a process that tells of each step; `slow`: seconds each step takes."""

    def work(pipe: int) -> None:
        torch.set_num_threads(1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with (run.parent / f"{run.name}.said").open("w") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        step = Log.add

        def stepping(self: Log, *details: Any) -> None:
            step(self, *details)
            os.write(pipe, struct.pack("<q", self.done))
            time.sleep(slow)

        Log.add = stepping  # type: ignore[method-assign]
        main(arguments(data, run, epochs=10**6))

    return fork(work)


def stopped(data: Path, run: Path, number: int, after: float) -> Stop:
    """Send one signal so many seconds after the first step."""
    child = trainer(data, run)
    first = os.read(child.pipe, 8)
    time.sleep(after)
    began = time.monotonic()
    child.send(number)
    code = child.wait(30)
    told = (first + child.output())[-8:]
    found = Checkpoints(run / "checkpoints", 3).latest(lambda text: None)
    images = found[0]["images"] if found else 0
    return Stop(number, code, child.ended_at - began, struct.unpack("<q", told)[0], images)


def twice(data: Path, run: Path, number: int) -> tuple[int | None, float]:
    """The exit code, and the seconds, of a second signal within a step that takes long."""
    child = trainer(data, run, slow=LONG)
    os.read(child.pipe, 8)
    child.send(number)
    time.sleep(0.1)
    assert not child.poll(), "the first signal did not wait for the step"
    began = time.monotonic()
    child.send(number)
    code = child.wait(LONG)
    child.output()
    return code, child.ended_at - began


def stops(data: Path, folder: Path, trials: int, seed: int) -> list[Stop]:
    """One run after another; of ten signals eight are SIGTERM."""
    rng = random.Random(seed)
    others = {8: signal.SIGINT, 9: signal.SIGUSR1}
    return [
        stopped(data, folder / f"run-{trial}", others.get(trial % 10, signal.SIGTERM),
                rng.uniform(0, SPAN))
        for trial in range(trials)
    ]  # fmt: skip
