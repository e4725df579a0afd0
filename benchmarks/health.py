"""Whether health tells what goes wrong, how soon, and whether it cries wolf.

python benchmarks/health.py [--facades FOLDER] [--horse2zebra FOLDER] [--demos] [--seeds 0 1 2]
    [--epochs 3]
Runs made to fail, each in its way (tests/training/diagnostics/trials.py), train for 300 steps
on images of the demos at 64 px; of each it records
after how many images its problem was reported, and what else was.
Then healthy ones, for each seed, of which nothing should be told: the same steps on the same images
as they are; with --demos both demos to their end; and of data sets named, `facades` (pix2pix) and
`horse2zebra` (CycleGAN, 300 images a side) at 128 px with networks of half the width and less.
Writes benchmarks/results/DATE-health.json.
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
    "train": {"samples": 0, "device": "cpu"},
}
GENERATORS: dict[str, dict[str, Any]] = {
    "facades": {"width": 32, "depth": 7},
    "horse2zebra": {"width": 16, "blocks": 6},
}
SIDE = 300  # images of each domain of horse2zebra


def fewer(data: Path, root: Path) -> Path:
    """The first images of both domains, for training; all that are held out."""
    folder = root / "horse2zebra-images"
    for split, count in (("train", SIDE), ("test", 10**9)):
        for domain in "AB":
            place = folder / f"{split}{domain}"
            place.mkdir(parents=True)
            for file in first(data / place.name, count):
                (place / file.name).symlink_to(file.resolve())
    return folder


def whole_runs(options: argparse.Namespace, root: Path) -> Iterator[tuple[str, Sections]]:
    """Healthy runs that are more than 300 steps long: a name, and settings without a seed."""
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
        "--demos", action="store_true", help="the demos to their end, some 4 min each"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=3, help="of the data sets named")
    options = parser.parse_args()
    torch.set_num_threads(1)
    failing: list[dict[str, Any]] = []
    well: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for trial in TRIALS:
            found = run_trial(trial, root)
            mine = [one["images"] for one in found if one["name"] == trial.finding]
            others = sorted({one["name"] for one in found} - {trial.finding})
            failing.append(
                {
                    "run": trial.name,
                    "made_for": trial.finding,
                    "images": trial.images,
                    "told_after": mine[0] if mine else None,
                    "also_told": others,
                }
            )
            print(failing[-1], flush=True)
        for seed in options.seeds:
            for recipe in (PAIRS, VIEWS):
                trial = control_trial(recipe, seed)
                well.append(
                    {
                        "run": f"{recipe}, {trial.images} steps",
                        "seed": seed,
                        "told": run_trial(trial, root),
                    }
                )
                print(well[-1], flush=True)
            for name, settings in whole_runs(options, root / str(seed)):
                place = str(root / f"{name}-{seed}")
                began = time.perf_counter()
                found = findings(merge(settings, {"train": {"run": place, "seed": seed}}))
                well.append({"run": name, "seed": seed, "told": found})
                print(well[-1], f"{time.perf_counter() - began:.0f} s", flush=True)
    path = Path(__file__).parent / "results" / f"{date.today().isoformat()}-health.json"
    write_json(
        path,
        {
            "date": date.today().isoformat(),
            "machine": machine("cpu"),
            "torch": torch.__version__,
            "found": f"{sum(one['told_after'] is not None for one in failing)} of {len(failing)}",
            "silent": f"{sum(not one['told'] for one in well)} of {len(well)}",
            "made_to_fail": failing,
            "healthy": well,
        },
    )


if __name__ == "__main__":
    main()
