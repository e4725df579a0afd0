"""Measure the time and memory of a training step of several recipes.

python benchmarks/recipe_speed.py [--recipes cyclegan cut fastcut] [--turns 8] [--size 256]
    [--width 64] [--batch 1] [--device cpu] [--threads N]
The first recipe is the one that the others are compared with. Each recipe runs in a separate
process, on random images; the processes take one step in turn (ten on a GPU), so that noise affects
all recipes equally, and ratios are those of the same turn. Feature networks of a perceptual loss
have random weights. Writes DATE-recipe-speed-FIRST[-DEVICE].json into benchmarks/results.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from machine_peak import machine
from train_job import Job
from train_speed import quartiles
from train_worker import race

from viceversa.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=["cyclegan", "cut", "fastcut"])
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    base = Job(
        "package",
        device=options.device,
        threads=options.threads,
        size=options.size,
        batch=options.batch,
        width=options.width,
        per_turn=1 if options.device == "cpu" else 10,
    )
    jobs = {name: replace(base, method=name) for name in options.recipes}
    measured = race(jobs, options.turns)
    first = measured[options.recipes[0]].turns
    rows: dict[str, dict[str, Any]] = {}
    for name, one in measured.items():
        ratios = [own / other for own, other in zip(one.turns, first, strict=True)]
        rows[name] = {
            "seconds": [round(seconds, 4) for seconds in one.turns],
            "median_s": round(statistics.median(one.turns), 4),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_quartiles": quartiles(ratios),
            "memory_gb": round(one.memory / 1e9, 2),
        }
        low, high = rows[name]["ratio_quartiles"]
        times = f"{rows[name]['median_s']} s/step, {rows[name]['ratio']} of {options.recipes[0]}"
        print(f"{name}: {times} ({low} to {high}), {rows[name]['memory_gb']} GB")
    about = vars(options) | {
        "date": date.today().isoformat(),
        "machine": machine(options.device),
        "torch": torch.__version__,
        "results": rows,
    }
    device = "" if options.device == "cpu" else f"-{torch.device(options.device).type}"
    stem = f"{date.today().isoformat()}-recipe-speed-{options.recipes[0]}{device}"
    write_json(Path(__file__).parent / "results" / f"{stem}.json", about)


if __name__ == "__main__":
    main()
