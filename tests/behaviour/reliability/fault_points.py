"""Four faults at all points between the start and the exit of a run.

A fault point is a function. Its calls are counted in an uninterrupted run, so that a fault can be
injected at any of them. The fault is injected in a forked child. Then the same command is
repeated, and its result is compared with that of the uninterrupted run.
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # loaded once, not in each child
from PIL import Image
from support import FAILED, Child, fork, log_lines

from viceversa import cli, files
from viceversa.checkpoint import Checkpoints, container, load_state, read_header, read_weights
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import RunConfig, resolve
from viceversa.evaluation.accumulator import MetricAccumulator
from viceversa.reports import RunPage
from viceversa.training import machine, monitor, run
from viceversa.training.best import BestModels
from viceversa.training.ema import EMA
from viceversa.training.log import Log
from viceversa.training.validation import Validation

TRAIN, VAL, SIDE = 6, 2, 20
GRIDS = 6  # images between two sample grids
FAULTS = "SIGTERM", "SIGKILL", "ENOSPC", "exception"
DISK_BYTES = 24 * 2**20  # size of the small disk
# name -> (owner, function, whether it belongs to monitoring)
FAULT_POINTS: dict[str, tuple[Any, str, bool]] = {
    "config.json": (run, "write_json", False),
    "machine.json": (machine, "write_json", False),
    "step": (run.Run, "update", False),
    "log line": (Log, "append", False),
    "log of a step": (Log, "add", False),
    "monitoring": (monitor.Monitor, "run", False),
    "diagnostics": (monitor.Monitor, "diagnose", True),
    "sample grid": (monitor.Monitor, "draw", True),
    "image of a sample grid or patch map": (Log, "write_grid", True),
    "validation": (Validation, "__call__", True),
    "image of a validation": (MetricAccumulator, "add", True),
    "best models": (BestModels, "stage", True),
    "page": (RunPage, "write", False),
    "checkpoint": (Checkpoints, "save", False),
    "tensor file": (container, "_write", False),
    "renamed file": (files, "_sync_folder", False),
    "best models published": (BestModels, "publish", False),
    "models": (monitor, "write_models", False),
    "EMA models": (EMA, "networks", False),
    "end of the log": (Log, "close", False),
}


@dataclass
class FaultyRun:
    """A run in which a fault was injected."""

    code: int | None
    output: str
    steps: int
    """Images at the last optimizer step."""
    saved: int
    """Images of the last checkpoint whose save returned."""
    found: int
    """Images of the newest complete checkpoint."""


def write_splits(folder: Path) -> Path:
    """Write pairs of noise images for training and validation."""
    rng = np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("val", VAL)):
        for domain in "AB":
            (folder / split / domain).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / domain / f"{number}.png")
    return folder


def settings(data: Path, run: Path) -> RunConfig:
    """Return a run of 6 optimizer steps with all kinds of monitoring, accumulation and EMA."""
    tiny: Sections = {
        "generator": {"width": 2, "depth": 2},
        "discriminator": {"width": 2, "layers": 1},
        "data": {"path": str(data), "load_size": 18, "crop_size": 16, "workers": 0},
        "train": {
            "run": str(run),
            "epochs": 2,
            "device": "cpu",
            "precision": "fp32",
            "samples": 1,
            "log_every": 3,
            "sample_every": GRIDS,
            "save_every": 4,
            "keep_last": 2,
            "accumulation_steps": 2,
            "ema": 0.9,
        },
        "validate": {"every": 6, "health": 4},
    }
    return resolve(merge(read_recipe("pix2pix"), tiny))


def start_training(
    data: Path, run: Path, prepare: Callable[[int], object] = lambda pipe: None
) -> Child:
    """Run `viceversa train` in a child, with its output in RUN.output; `prepare` runs first."""

    def work(pipe: int) -> None:
        torch.set_num_threads(1)
        with Path(f"{run}.output").open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        prepare(pipe)
        cli.training.train_settings = lambda *words: settings(data, run)  # parsing takes a second
        cli.main(["train", "pix2pix"])

    return fork(work)


def hook(name: str, before: Callable[[int], object]) -> None:
    """Call `before` with the number of the call (from 1) at each call of a fault point."""
    owner, attribute, _ = FAULT_POINTS[name]
    original, calls = getattr(owner, attribute), iter(range(1, 10**9))

    @functools.wraps(original)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        before(next(calls))
        return original(*args, **kwargs)

    setattr(owner, attribute, hooked)


def count_calls(data: Path, run: Path) -> dict[str, int]:
    """Run without faults in `run`; return the number of calls of each fault point."""

    def prepare(pipe: int) -> None:
        for number, name in enumerate(FAULT_POINTS):
            hook(name, lambda call, number=number: os.write(pipe, bytes([number])))

    child = start_training(data, run, prepare)
    reports = child.output()
    assert child.wait(60) == 0, Path(f"{run}.output").read_text()
    return {name: reports.count(bytes([number])) for number, name in enumerate(FAULT_POINTS)}


def run_with_fault(data: Path, run: Path, name: str, call: int, fault: str) -> FaultyRun:
    """Run the command with a fault at a call of a fault point."""
    filler = run.parent / "filler"

    def inject(number: int) -> None:
        if number != call:
            return
        if fault == "exception":
            raise LookupError("injected")
        if fault == "ENOSPC":
            fill(filler)
        else:
            os.kill(os.getpid(), getattr(signal, fault))

    def prepare(pipe: int) -> None:
        call_after(Log, "add", lambda log: os.write(pipe, struct.pack("<bq", 0, log.done)))
        call_after(Checkpoints, "save", lambda _: os.write(pipe, struct.pack("<bq", 1, 0)))
        hook(name, inject)

    child = start_training(data, run, prepare)
    reports = list(struct.iter_unpack("<bq", child.output()))
    code = child.wait(60)
    filler.unlink(missing_ok=True)
    steps = saved = done = 0
    for kind, images in reports:
        done = images or done
        if kind:
            saved = steps
        elif not done % 2:  # a step of two batches is complete
            steps = done
    found = Checkpoints(run / "checkpoints", 2).latest(lambda text: None)
    output = Path(f"{run}.output").read_text()
    return FaultyRun(code, output, steps, saved, found[0]["images"] if found else 0)


def call_after(owner: Any, attribute: str, after: Callable[[Any], object]) -> None:
    """Call `after` with the object when a method of it has returned."""
    original = getattr(owner, attribute)

    @functools.wraps(original)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        after(self)
        return result

    setattr(owner, attribute, called)


def fill(path: Path) -> None:
    """Fill up the disk."""
    with path.open("wb", buffering=0) as file:
        for size in (2**16, 2**8, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC


def problems_of(faulty_run: FaultyRun, name: str, fault: str) -> list[str]:
    """Return the problems of how a run ended."""
    problems = []
    if faulty_run.found < faulty_run.saved:
        problems.append(
            f"resumes from {faulty_run.found}, before the checkpoint of {faulty_run.saved}"
        )
    complete = faulty_run.steps == faulty_run.found == 2 * TRAIN
    codes = {"SIGTERM": 143, "SIGKILL": -9, "ENOSPC": 2, "exception": FAILED}
    if faulty_run.code != codes[fault] and not (
        faulty_run.code == 0 and complete and fault != "SIGKILL"
    ):
        problems.append(f"exit code {faulty_run.code}")
    if fault == "SIGTERM" and faulty_run.found < faulty_run.steps:
        problems.append(f"lost steps: saved {faulty_run.found} of {faulty_run.steps}")
    if fault == "exception" and FAULT_POINTS[name][2] and faulty_run.found < faulty_run.steps:
        problems.append(
            f"failed monitoring lost steps: saved {faulty_run.found} of {faulty_run.steps}"
        )
    if "Traceback" in faulty_run.output and fault != "exception":
        problems.append("a traceback")
    return problems


def repeat(data: Path, run: Path) -> None:
    """Repeat the command. Raises AssertionError if it fails."""
    child = start_training(data, run)
    child.output()
    assert child.wait(60) == 0, Path(f"{run}.output").read_text()


def results(run: Path) -> dict[str, Any]:
    """Return the results of a complete run that do not depend on time or on its path."""
    state = load_state(max((run / "checkpoints").glob("*.safetensors")))
    del state["sections"]
    grids = [
        path
        for kind in ("samples", "patch_maps")
        for path in (run / kind).glob("*.png")
        if int(path.stem) % GRIDS == 0  # due by images; others are of stops
    ]
    models = sorted(run.glob("*.safetensors")) + [
        path for folder in ("best", "ema") for path in sorted((run / folder).iterdir())
    ]
    return {
        "state": state,
        "log": log_lines(run, clock=False),
        "grids": {str(path.relative_to(run)): list(path.read_bytes()) for path in grids},
        "models": {str(path.relative_to(run)): read_weights(path) for path in models},
        "images": {str(p.relative_to(run)): read_header(p)["images_processed"] for p in models},
        "files": sorted(path.name for path in run.iterdir()),
    }


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a small disk to fill up. Raises OSError if it cannot be mounted."""
    import subprocess

    if shutil.which("mount") is None:
        raise OSError("mount is not available")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], timeout=20, check=True)
