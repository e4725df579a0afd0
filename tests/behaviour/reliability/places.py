"""Every place where a run can be stopped between its start and its exit, with four faults.

A place is a call of a function. In an uninterrupted run the calls are counted, so that a fault can
be injected at any of them, from the first to the last. The fault hits a forked child; afterwards
the same command is repeated, and its result is compared with that of the uninterrupted run.
"""

from __future__ import annotations

import errno
import functools
import json
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
from support import FAILED, Child, fork

from viceversa import cli, files
from viceversa.checkpoint import Checkpoints, container, load_state, read_header, read_weights
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import RunConfig, resolve
from viceversa.evaluation.accumulator import MetricAccumulator
from viceversa.training import machine, monitor, run
from viceversa.training.best import BestModels
from viceversa.training.ema import EMA
from viceversa.training.log import Log
from viceversa.training.validation import Validation

TRAIN, VAL, SIDE = 6, 2, 20
GRIDS = 6  # images between two sample grids
FAULTS = "SIGTERM", "SIGKILL", "ENOSPC", "exception"
DISK = 24 * 2**20  # bytes of the disk that fills up
# name -> (owner, function, whether it belongs to a look at the run)
PLACES: dict[str, tuple[Any, str, bool]] = {
    "config.json": (run, "write_json", False),
    "machine.json": (machine, "write_json", False),
    "step": (run.Run, "update", False),
    "log line": (Log, "append", False),
    "log of a step": (Log, "add", False),
    "look": (monitor.Monitor, "run", False),
    "diagnostics": (monitor.Monitor, "diagnose", True),
    "sample grid": (monitor.Monitor, "draw", True),
    "image of a sample grid or patch map": (Log, "write_grid", True),
    "validation": (Validation, "__call__", True),
    "image of a validation": (MetricAccumulator, "add", True),
    "best models": (BestModels, "stage", True),
    "page": (monitor, "write_run_page", False),
    "checkpoint": (Checkpoints, "save", False),
    "file of tensors": (container, "_write", False),
    "file in its place": (files, "_sync_folder", False),
    "best models published": (BestModels, "publish", False),
    "models": (monitor, "write_models", False),
    "EMA models": (EMA, "networks", False),
    "end of the log": (Log, "close", False),
}  # fmt: skip


@dataclass
class Ended:
    """A run that a fault hit."""

    code: int | None
    said: str
    steps: int
    """Images at the last optimizer step."""
    saved: int
    """Images of the last checkpoint whose save returned."""
    found: int
    """Images of the newest complete checkpoint."""


def make_data(folder: Path) -> Path:
    """Pairs of noise images to train and to validate on."""
    rng = np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("val", VAL)):
        for domain in "AB":
            (folder / split / domain).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / domain / f"{number}.png")
    return folder


def settings(data: Path, run: Path) -> RunConfig:
    """A run with all kinds of looks, accumulation and EMA, in 6 optimizer steps."""
    tiny: Sections = {
        "generator": {"width": 2, "depth": 2},
        "discriminator": {"width": 2, "layers": 1},
        "data": {"path": str(data), "load_size": 18, "crop_size": 16, "workers": 0},
        "train": {"run": str(run), "epochs": 2, "device": "cpu", "samples": 1, "log_every": 3,
                  "sample_every": GRIDS, "save_every": 4, "keep_last": 2,
                  "accumulation_steps": 2, "ema": 0.9},
        "validate": {"every": 6, "health": 4},
    }  # fmt: skip
    return resolve(merge(read_recipe("pix2pix"), tiny))


def command(data: Path, run: Path, prepare: Callable[[int], object] = lambda pipe: None) -> Child:
    """`viceversa train` in a child, with its output in RUN.said; `prepare` runs first."""

    def work(pipe: int) -> None:
        torch.set_num_threads(1)
        with Path(f"{run}.said").open("w") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        prepare(pipe)
        cli.training.train_settings = lambda *words: settings(data, run)  # parsing takes a second
        cli.main(["train", "pix2pix"])

    return fork(work)


def hook(name: str, before: Callable[[int], object]) -> None:
    """Call `before` with the number of the call (from 1) at each call of a place's function."""
    owner, attribute, _ = PLACES[name]
    original, calls = getattr(owner, attribute), iter(range(1, 10**9))

    @functools.wraps(original)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        before(next(calls))
        return original(*args, **kwargs)

    setattr(owner, attribute, hooked)


def counted(data: Path, run: Path) -> dict[str, int]:
    """How often each place is passed in an uninterrupted run, which is left in `run`."""

    def prepare(pipe: int) -> None:
        for number, name in enumerate(PLACES):
            hook(name, lambda call, number=number: os.write(pipe, bytes([number])))

    child = command(data, run, prepare)
    told = child.output()
    assert child.wait(60) == 0, Path(f"{run}.said").read_text()
    return {name: told.count(bytes([number])) for number, name in enumerate(PLACES)}


def hit(data: Path, run: Path, name: str, call: int, fault: str) -> Ended:
    """Run the command with a fault at a call of a place."""
    filler = run.parent / "filler"

    def strike(number: int) -> None:
        if number != call:
            return
        if fault == "exception":
            raise LookupError("injected")
        if fault == "ENOSPC":
            fill(filler)
        else:
            os.kill(os.getpid(), getattr(signal, fault))

    def prepare(pipe: int) -> None:
        tell(Log, "add", lambda report: os.write(pipe, struct.pack("<bq", 0, report.done)))
        tell(Checkpoints, "save", lambda _: os.write(pipe, struct.pack("<bq", 1, 0)))
        hook(name, strike)

    child = command(data, run, prepare)
    told = list(struct.iter_unpack("<bq", child.output()))
    code = child.wait(60)
    filler.unlink(missing_ok=True)
    steps = saved = done = 0
    for kind, images in told:
        done = images or done
        if kind:
            saved = steps
        elif not done % 2:  # a group of two batches is complete
            steps = done
    found = Checkpoints(run / "checkpoints", 2).latest(lambda text: None)
    said = Path(f"{run}.said").read_text()
    return Ended(code, said, steps, saved, found[0]["images"] if found else 0)


def tell(owner: Any, attribute: str, after: Callable[[Any], object]) -> None:
    """Call `after` with the object when a method of it has returned."""
    original = getattr(owner, attribute)

    @functools.wraps(original)
    def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        after(self)
        return result

    setattr(owner, attribute, told)


def fill(path: Path) -> None:
    """Use up the disk."""
    with path.open("wb", buffering=0) as file:
        for size in (2**16, 2**8, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC


def faults_of(ended: Ended, name: str, fault: str) -> list[str]:
    """What is wrong about how a run ended."""
    wrong = []
    if ended.found < ended.saved:
        wrong.append(f"went back to {ended.found}, behind the checkpoint of {ended.saved}")
    complete = ended.steps == ended.found == 2 * TRAIN
    codes = {"SIGTERM": 143, "SIGKILL": -9, "ENOSPC": 2, "exception": FAILED}
    if ended.code != codes[fault] and not (ended.code == 0 and complete and fault != "SIGKILL"):
        wrong.append(f"exit code {ended.code}")
    if fault == "SIGTERM" and ended.found < ended.steps:
        wrong.append(f"lost steps: saved {ended.found} of {ended.steps}")
    if fault == "exception" and PLACES[name][2] and ended.found < ended.steps:
        wrong.append(f"a failed look lost steps: saved {ended.found} of {ended.steps}")
    if "Traceback" in ended.said and fault != "exception":
        wrong.append("a traceback")
    return wrong


def repeated(data: Path, run: Path) -> None:
    """Repeat the command. Raises AssertionError where it fails."""
    child = command(data, run)
    child.output()
    assert child.wait(60) == 0, Path(f"{run}.said").read_text()


def left(run: Path) -> dict[str, Any]:
    """What a complete run leaves, without what depends on the clock or on its name."""
    state = load_state(max((run / "checkpoints").glob("*.safetensors")))
    del state["sections"]
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    grids = [
        path for kind in ("samples", "patch_maps") for path in (run / kind).glob("*.png")
        if int(path.stem) % GRIDS == 0  # due by images; others are of stops
    ]  # fmt: skip
    models = sorted(run.glob("*.safetensors")) + [
        path for folder in ("best", "ema") for path in sorted((run / folder).iterdir())
    ]
    return {
        "state": state,
        "log": [{k: v for k, v in line.items() if k != "images_per_s"} for line in lines],
        "grids": {str(path.relative_to(run)): list(path.read_bytes()) for path in grids},
        "models": {str(path.relative_to(run)): read_weights(path) for path in models},
        "images": {str(p.relative_to(run)): read_header(p)["images_seen"] for p in models},
        "files": sorted(path.name for path in run.iterdir()),
    }


@contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """A small disk to fill up. Raises OSError where it cannot be mounted."""
    import subprocess

    if shutil.which("mount") is None:
        raise OSError("there is no mount")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], timeout=20, check=True)
