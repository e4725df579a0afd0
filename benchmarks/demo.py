"""Run the two demos with three seeds each: test errors, baselines and times.

python benchmarks/demo.py [--seeds 3] [--which pix2pix cyclegan]
Writes benchmarks/results/DATE-demo-WHICH.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

from viceversa.demo import run_demo
from viceversa.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--which", nargs="+", default=["pix2pix", "cyclegan"])
    options = parser.parse_args()
    results: dict[str, object] = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    for which in options.which:
        runs = []
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                errors = run_demo(which, Path(folder), seed)
                seconds = round(time.perf_counter() - began)
            runs.append({"seed": seed, "seconds": seconds, "errors": errors})
        names = list(runs[0]["errors"])
        medians = {n: statistics.median(run["errors"][n] for run in runs) for n in names}
        results[which] = {"median": medians, "runs": runs}
        for name, error in medians.items():
            print(f"{which}: median of {options.seeds}: {error:.4f}  {name}")
        stem = f"{date.today().isoformat()}-demo-{'-'.join(options.which)}"
        write_json(Path(__file__).parent / "results" / f"{stem}.json", results)


if __name__ == "__main__":
    main()
