"""Measure the time of `viceversa evaluate` with and without feature networks.

python benchmarks/evaluation.py FACADES [--features FOLDER] [--times 3]
Trains the recipe `facades` (a U-Net of 54 million weights) for a few seconds, then evaluates it on
the `test` pairs at 256 px, alternately with all metrics (Inception and AlexNet) and with those that
need no network. Writes benchmarks/results/DATE-evaluation.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch
from machine_peak import machine

from viceversa.files import write_json

COMMAND = [sys.executable, "-m", "viceversa"]


def evaluated(run: Path, data: Path, features: Path, out: Path) -> tuple[float, list[str]]:
    """Return the seconds, and the names of the computed metrics."""
    began = time.perf_counter()
    words = ["evaluate", str(run), str(data), "--features", str(features), "-o", str(out)]
    subprocess.run([*COMMAND, *words], check=True, capture_output=True)
    seconds = time.perf_counter() - began
    (direction,) = json.loads((out / "metrics.json").read_text())["directions"].values()
    return seconds, [*direction["means"], *direction["sets"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("facades", type=Path)
    parser.add_argument("--features", type=Path, default=Path(".venv/features"))
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    metrics: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        settings = {"run": root / "run", "max_time": 0.1, "samples": 0}
        words = [word for k, v in settings.items() for word in (f"--train.{k}", str(v))]
        never = ["--validate.every", "0"]
        subprocess.run(
            [*COMMAND, "train", "facades", str(options.facades), *words, *never],
            capture_output=True,
        )
        for _ in range(options.times):
            for name, features in (("with", options.features), ("without", root / "none")):
                took, metrics[name] = evaluated(
                    root / "run", options.facades, features, root / name
                )
                seconds[name].append(round(took, 1))
                print(name, f"{took:.1f} s", metrics[name], flush=True)
    path = Path(__file__).parent / "results" / f"{date.today().isoformat()}-evaluation.json"
    write_json(
        path,
        {
            "date": date.today().isoformat(),
            "machine": machine("cpu"),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "task": "facades, 106 pairs of test, 256 px",
            "with_networks": {
                "median_s": statistics.median(seconds["with"]),
                "seconds": seconds["with"],
                "metrics": metrics["with"],
            },
            "without": {
                "median_s": statistics.median(seconds["without"]),
                "seconds": seconds["without"],
                "metrics": metrics["without"],
            },
        },
    )


if __name__ == "__main__":
    main()
