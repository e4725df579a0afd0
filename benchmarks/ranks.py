"""What becomes of two processes that train together when one is killed, stopped or cut off.

python benchmarks/ranks.py [--trials 50] [--timeout 5]
Each trial trains a small CycleGAN, with dropout and pools, in two processes under torchrun, and
does to one of them, at a random moment, what the trial is about. `kill` and `stop`: SIGKILL and
SIGSTOP on one machine, with restarts. `cut`: two hosts, as network namespaces, whose link is taken
away for good; `gap`: taken away until both have given up, and given back (both need root). A trial
counts as recovered where the run ends with the weights of one that nothing happened to, to the bit;
as ended where all training processes are gone, with a checkpoint that is whole; as failed
otherwise. Seconds are those from the fault until neither of the two processes is left, and until
two others have taken their place (`back`). Writes benchmarks/results/DATE-ranks.json.
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
    path.write_text(
        json.dumps(
            {
                "method": {"name": "cyclegan", "pool_size": 3},
                "generator": {
                    "name": "unet",
                    "width": 4,
                    "depth": 2,
                    "norm": "instance",
                    "dropout": 0.5,
                },
                "discriminator": {"name": "patchgan", "width": 4, "layers": 1, "norm": "instance"},
                "data": {"path": str(data), "preprocess": "none", "workers": 0},
                "train": {
                    "run": str(run),
                    "epochs": epochs,
                    "device": "cpu",
                    "batch_size": 4,
                    "samples": 0,
                    "log_every": 120,
                    "save_every": 24,
                    "rank_timeout": timeout,
                },
            }
        )
    )
    return path


def workers(path: Path) -> list[int]:
    """The processes that train by a recipe; not those that launched them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, UnicodeDecodeError):
            continue
        trains = str(path) in words and "train" in words
        if entry.name.isdecimal() and trains and TORCHRUN[2] not in words and state != "Z":
            found.append(int(entry.name))
    return sorted(found)


def wait_for(true: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not true():
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True


def same(one: Path, two: Path) -> bool:
    for path in sorted(one.glob("*.safetensors")):
        other = two / path.name
        if not other.is_file():
            return False
        ours, theirs = read_weights(path), read_weights(other)
        if not all(torch.equal(ours[name], theirs[name]) for name in ours):
            return False
    return True


def trial(
    kind: str,
    data: Path,
    folder: Path,
    whole: Path,
    epochs: int,
    timeout: float,
    rng: random.Random,
) -> dict[str, Any]:
    run = folder / "run"
    path = recipe(data, run, epochs, timeout)
    log = folder / "log.txt"
    hosts = kind in ("cut", "gap")
    with linked_hosts() if hosts else nullcontext():
        return watched(kind, path, run, whole, timeout, rng, log)


def watched(
    kind: str, path: Path, run: Path, whole: Path, timeout: float, rng: random.Random, log: Path
) -> dict[str, Any]:
    launchers = (launch_on_two_hosts if kind in ("cut", "gap") else launch_on_one_machine)(
        path, log, restarts=3
    )
    try:
        begun = wait_for(lambda: bool(list((run / "checkpoints").glob("*.safetensors"))), 60)
        time.sleep(rng.uniform(0, 2))
        found = workers(path)
        if not begun or len(found) != 2:
            return {"kind": kind, "outcome": "not begun", "seconds": 0.0}
        at = time.monotonic()
        inflict(kind, found, rng)
        if kind == "gap":
            wait_for(lambda: not set(found) & set(workers(path)), timeout + 30)
            set_link("up")
        # Until none of the two is left, and where there is a restart, two others have begun.
        fresh = lambda: set(workers(path)) - set(found)  # noqa: E731
        gone = lambda: not set(workers(path)) & set(found)  # noqa: E731
        dealt = wait_for(gone, 180)
        seconds = time.monotonic() - at
        dealt = dealt and (kind == "cut" or wait_for(lambda: len(fresh()) == 2, 60))
        back = time.monotonic() - at
        done = lambda: all(one.poll() is not None for one in launchers)  # noqa: E731
        # After a cut the launchers look for each other long after their workers; they are not ours.
        over = dealt and (kind == "cut" or wait_for(done, 180))
        if over and same(whole, run):
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


def inflict(kind: str, found: list[int], rng: random.Random) -> None:
    if kind in ("cut", "gap"):
        set_link("down")
    else:
        os.kill(rng.choice(found), signal.SIGKILL if kind == "kill" else signal.SIGSTOP)


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
        whole = root / "whole"
        path = recipe(data, whole, options.epochs, options.timeout)
        for launcher in launch_on_one_machine(path, root / "log.txt"):
            launcher.wait()
        for number in range(options.trials):
            folder = root / f"{number}"
            folder.mkdir()
            one = trial(
                kinds[number % len(kinds)],
                data,
                folder,
                whole,
                options.epochs,
                options.timeout,
                rng,
            )
            results.append(one)
            print(number, one, flush=True)
            if one["outcome"] == "failed":
                print((folder / "log.txt").read_text()[-3000:])
            shutil.rmtree(folder)
    table: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(kinds):
        mine = [one for one in results if one["kind"] == kind]
        outcomes = [str(one["outcome"]) for one in mine]
        table[kind] = {word: outcomes.count(word) for word in sorted(set(outcomes))}
        table[kind]["most_seconds"] = max((one["seconds"] for one in mine), default=0)
        table[kind]["most_seconds_until_back"] = max(
            (one.get("back") or 0 for one in mine), default=0
        )
        table[kind]["launchers_left"] = sum(one.get("launchers_left", 0) for one in mine)
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
