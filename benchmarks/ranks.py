"""Test distributed training when one of two processes is killed, stopped or disconnected.

python benchmarks/ranks.py [--trials 50] [--timeout 5]
Each trial trains a small CycleGAN, with dropout and image pools, in two processes under torchrun,
with a fault in one of them at a random time. `kill` and `stop`: SIGKILL and SIGSTOP on one machine,
with restarts. `cut`: two hosts, as network namespaces, whose link goes down for good; `gap`: the
link is down until both have timed out, and then up again (both need root). A trial has recovered if
the run ends with the same weights, bit by bit, as an undisturbed run. It has ended if all training
processes have exited and left a valid checkpoint. Otherwise it has failed. Times are measured from
the fault until both processes have exited, and until two others have started (`back`). Writes
benchmarks/results/DATE-ranks.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "behaviour"))
from torchrun_hosts import (
    TORCHRUN,
    launch_on_one_machine,
    launch_on_two_hosts,
    linked_hosts,
    set_link,
)

from viceversa.checkpoint import Checkpoints, read_weights
from viceversa.files import write_json


def images(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for domain in "AB":
        (root / domain).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / domain / f"{number:02d}.png")
    return root


def recipe(data: Path, run: Path, epochs: int, timeout: float) -> Path:
    path = run.with_suffix(".json")
    generator = {"name": "unet", "width": 4, "depth": 2, "norm": "instance", "dropout": 0.5}
    settings = {
        "method": {"name": "cyclegan", "pool_size": 3},
        "generator": generator,
        "discriminator": {"name": "patchgan", "width": 4, "layers": 1, "norm": "instance"},
        "data": {"path": str(data), "preprocess": "none", "workers": 0},
        "train": {
            "run": str(run),
            "epochs": epochs,
            "device": "cpu",
            "precision": "fp32",
            "batch_size": 4,
            "samples": 0,
            "log_every": 120,
            "save_every": 24,
            "rank_timeout": timeout,
        },
    }
    path.write_text(json.dumps(settings))
    return path


def workers(path: Path) -> list[int]:
    """Return the processes that train with a recipe, without their launchers."""
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, UnicodeDecodeError):
            continue
        trains = str(path) in words and "train" in words
        if entry.name.isdecimal() and trains and TORCHRUN[2] not in words and state != "Z":
            pids.append(int(entry.name))
    return sorted(pids)


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True


def same_weights(one: Path, two: Path) -> bool:
    for path in sorted(one.glob("*.safetensors")):
        other = two / path.name
        if not other.is_file():
            return False
        first, second = read_weights(path), read_weights(other)
        if not all(torch.equal(first[name], second[name]) for name in first):
            return False
    return True


def trial(
    kind: str,
    data: Path,
    folder: Path,
    undisturbed: Path,
    epochs: int,
    timeout: float,
    rng: random.Random,
) -> dict[str, Any]:
    run = folder / "run"
    path = recipe(data, run, epochs, timeout)
    log = folder / "log.txt"
    hosts = kind in ("cut", "gap")
    with linked_hosts() if hosts else nullcontext():
        return run_trial(kind, path, run, undisturbed, timeout, rng, log)


def run_trial(
    kind: str,
    path: Path,
    run: Path,
    undisturbed: Path,
    timeout: float,
    rng: random.Random,
    log: Path,
) -> dict[str, Any]:
    launchers = (launch_on_two_hosts if kind in ("cut", "gap") else launch_on_one_machine)(
        path, log, restarts=3
    )
    try:
        started = wait_for(lambda: bool(list((run / "checkpoints").glob("*.safetensors"))), 60)
        time.sleep(rng.uniform(0, 2))
        pids = workers(path)
        if not started or len(pids) != 2:
            return {"kind": kind, "outcome": "not started", "seconds": 0.0}
        at = time.monotonic()
        inject_fault(kind, pids, rng)
        if kind == "gap":
            wait_for(lambda: not set(pids) & set(workers(path)), timeout + 30)
            set_link("up")
        # Wait until both have exited, and, with restarts, two others have started.
        restarted = lambda: set(workers(path)) - set(pids)  # noqa: E731
        gone = lambda: not set(workers(path)) & set(pids)  # noqa: E731
        ended = wait_for(gone, 180)
        seconds = time.monotonic() - at
        ended = ended and (kind == "cut" or wait_for(lambda: len(restarted()) == 2, 60))
        back = time.monotonic() - at
        done = lambda: all(one.poll() is not None for one in launchers)  # noqa: E731
        # After a cut, the launchers of torchrun search for each other for a long time.
        over = ended and (kind == "cut" or wait_for(done, 180))
        if over and same_weights(undisturbed, run):
            outcome = "recovered"
        elif over and Checkpoints(run / "checkpoints", 3).latest(print):
            outcome = "ended"
        else:
            outcome = "failed"
        return {
            "kind": kind,
            "outcome": outcome,
            "seconds": round(seconds, 1),
            "back": None if kind == "cut" else round(back, 1),
            "launchers_left": sum(one.poll() is None for one in launchers),
        }
    finally:
        for one in launchers:
            one.kill()
        for number in workers(path):
            os.kill(number, signal.SIGKILL)


def inject_fault(kind: str, pids: list[int], rng: random.Random) -> None:
    if kind in ("cut", "gap"):
        set_link("down")
    else:
        os.kill(rng.choice(pids), signal.SIGKILL if kind == "kill" else signal.SIGSTOP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--kinds", nargs="+", default=["kill", "kill", "stop", "cut", "gap"])
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    kinds = options.kinds
    if os.geteuid() or not shutil.which("ip"):
        kinds = [kind for kind in kinds if kind not in ("cut", "gap")]
    rng = random.Random(0)
    results = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        data = images(root / "data")
        undisturbed = root / "undisturbed"
        path = recipe(data, undisturbed, options.epochs, options.timeout)
        for launcher in launch_on_one_machine(path, root / "log.txt"):
            launcher.wait()
        for number in range(options.trials):
            folder = root / f"{number}"
            folder.mkdir()
            kind = kinds[number % len(kinds)]
            one = trial(kind, data, folder, undisturbed, options.epochs, options.timeout, rng)
            results.append(one)
            print(number, one, flush=True)
            if one["outcome"] == "failed":
                print((folder / "log.txt").read_text()[-3000:])
            shutil.rmtree(folder)
    table: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(kinds):
        trials = [one for one in results if one["kind"] == kind]
        outcomes = [str(one["outcome"]) for one in trials]
        table[kind] = {word: outcomes.count(word) for word in sorted(set(outcomes))}
        table[kind]["most_seconds"] = max((one["seconds"] for one in trials), default=0)
        table[kind]["most_seconds_until_back"] = max(
            (one.get("back") or 0 for one in trials), default=0
        )
        table[kind]["launchers_left"] = sum(one.get("launchers_left", 0) for one in trials)
    print(json.dumps(table, indent=2))
    write_json(
        Path(__file__).parent / "results" / f"{date.today().isoformat()}-ranks.json",
        {
            "date": date.today().isoformat(),
            "torch": torch.__version__,
            "trials": len(results),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, gloo",
            "timeout_s": options.timeout,
            "by_kind": table,
            "every": results,
        },
    )


if __name__ == "__main__":
    main()
