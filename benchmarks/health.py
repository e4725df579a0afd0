"""Test the diagnostics: how early training problems are detected, and false alarms.

python benchmarks/health.py [--facades FOLDER] [--horse2zebra FOLDER] [--demos] [--seeds 0 1 2]
    [--epochs 3]
Runs with known problems (tests/training/diagnostics/trials.py) train for 300 steps on images of the
demos at 64 px. Recorded are the number of images after which the problem was reported, and other
reports. Normal runs, of which nothing should be reported, are trained with each seed: the same
steps without the problem; with --demos, both demos completely; and of the given datasets, `facades`
(pix2pix) and `horse2zebra` (CycleGAN, 300 images per domain) at 128 px with networks of at most
half the width. Writes benchmarks/results/DATE-health.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from machine_peak import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "training" / "diagnostics"))
from trials import PAIRS, TRIALS, VIEWS, control_trial, findings, first, run_trial

from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.files import write_json

SMALLER: Sections = {
    "data": {"load_size": 143, "crop_size": 128},
    "discriminator": {"width": 32},
    "train": {"samples": 0, "device": "cpu", "precision": "fp32"},
}
GENERATORS: dict[str, dict[str, Any]] = {
    "facades": {"width": 32, "depth": 7},
    "horse2zebra": {"width": 16, "blocks": 6},
}
SIDE = 300  # images of each domain of horse2zebra


def fewer(data: Path, root: Path) -> Path:
    """Return a folder with the first training images of both domains and all test images."""
    folder = root / "horse2zebra-images"
    for split, count in (("train", SIDE), ("test", 10**9)):
        for domain in "AB":
            target = folder / f"{split}{domain}"
            target.mkdir(parents=True)
            for file in first(data / target.name, count):
                (target / file.name).symlink_to(file.resolve())
    return folder


def long_runs(options: argparse.Namespace, root: Path) -> Iterator[tuple[str, Sections]]:
    """Yield names and settings (without seed) of normal runs of more than 300 steps."""
    if options.demos:
        for recipe, folder in ((PAIRS, "openmoji"), (VIEWS, "earth")):
            data = str(resources.files("viceversa") / "demos" / folder)
            more: Sections = {"data": {"path": data}, "train": {"samples": 0, "device": "cpu"}}
            yield recipe, merge(read_recipe(recipe), more)
    for recipe in GENERATORS:
        given = getattr(options, recipe)
        if given is None:
            continue
        data = str(fewer(given, root) if recipe == "horse2zebra" else given)
        more = {
            "data": {"path": data},
            "generator": GENERATORS[recipe],
            "train": {"epochs": options.epochs},
        }
        yield f"{recipe}, 128 px", merge(merge(read_recipe(recipe), SMALLER), more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facades", type=Path)
    parser.add_argument("--horse2zebra", type=Path)
    parser.add_argument(
        "--demos", action="store_true", help="both demos completely, about 4 min each"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=3, help="epochs on the given datasets")
    options = parser.parse_args()
    torch.set_num_threads(1)
    failing: list[dict[str, Any]] = []
    normal: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for trial in TRIALS:
            found = run_trial(trial, root)
            detected = [one["images"] for one in found if one["name"] == trial.finding]
            others = sorted({one["name"] for one in found} - {trial.finding})
            failing.append(
                {
                    "run": trial.name,
                    "problem": trial.finding,
                    "images": trial.images,
                    "reported_after": detected[0] if detected else None,
                    "also_reported": others,
                }
            )
            print(failing[-1], flush=True)
        for seed in options.seeds:
            for recipe in (PAIRS, VIEWS):
                trial = control_trial(recipe, seed)
                normal.append(
                    {
                        "run": f"{recipe}, {trial.images} steps",
                        "seed": seed,
                        "reported": run_trial(trial, root),
                    }
                )
                print(normal[-1], flush=True)
            for name, settings in long_runs(options, root / str(seed)):
                run = str(root / f"{name}-{seed}")
                began = time.perf_counter()
                found = findings(merge(settings, {"train": {"run": run, "seed": seed}}))
                normal.append({"run": name, "seed": seed, "reported": found})
                print(normal[-1], f"{time.perf_counter() - began:.0f} s", flush=True)
    detections = sum(run["reported_after"] is not None for run in failing)
    silent = sum(not run["reported"] for run in normal)
    path = Path(__file__).parent / "results" / f"{date.today().isoformat()}-health.json"
    write_json(
        path,
        {
            "date": date.today().isoformat(),
            "machine": machine("cpu"),
            "torch": torch.__version__,
            "detected": f"{detections} of {len(failing)}",
            "without_reports": f"{silent} of {len(normal)}",
            "failing_runs": failing,
            "normal_runs": normal,
        },
    )


if __name__ == "__main__":
    main()
