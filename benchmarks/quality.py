"""Compare the quality of recipes, and of the public implementation, on the same images.

python benchmarks/quality.py pix2pix FACADES --direction ba --recipes pix2pix pix2pix-hd
python benchmarks/quality.py cyclegan HORSE2ZEBRA --recipes cyclegan cut fastcut
    [--reference CHECKOUT] [--size 128] [--width 32] [--steps 2400] [--images 0] [--seeds 3]
    [--equal-time] [--device cpu] [--grid translations.png] [--folder FOLDER]

Recipes are names or .toml files. Trains every recipe from each seed in a separate process, with the
same training images in batches of one, and translates the test images with the last and the best
weights. The public implementation (junyanz/pytorch-CycleGAN-and-pix2pix) gets the same batches. All
outputs are measured by `viceversa evaluate FAKES REALS`. With --equal-time every training has the
time that the slowest one needed for its steps, instead of the same number of steps. Writes
benchmarks/results/DATE-quality-DATA.json; --grid names a file for a grid of translations. --folder
keeps the runs and translations; the same command continues there after a stop, also with more
recipes or seeds. With --no-metrics it needs no feature networks; the same command without it then
measures what is in the folder, also on another computer.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine_peak import machine
from reference import depth, reference_model
from torch import Tensor

import viceversa
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, resolve
from viceversa.data.dataset import ImageDataset
from viceversa.data.index import index_split
from viceversa.data.loader import Loader
from viceversa.data.open import Datasets, open_data
from viceversa.files import write_json
from viceversa.images.domain import Domain
from viceversa.images.header import Pixels
from viceversa.images.io import read
from viceversa.images.values import to_pixels
from viceversa.images.writing import write
from viceversa.runtime.device import synchronized_time
from viceversa.runtime.random_state import seed_everything

METRICS = {"pix2pix": ("l1", "lpips", "fid", "kid"), "cyclegan": ("fid", "kid")}
REFERENCE = "reference"
TIMED = 40  # steps that are timed for --equal-time
SHOWN = 4  # test images in the grid


@dataclass(frozen=True)
class Job:
    """One training."""

    method: str
    recipe: str
    data: str
    size: int
    width: int
    steps: int
    seed: int
    device: str
    checkout: str
    features: str
    direction: str
    images: int = 0
    """Maximum number of training images; 0: all."""


def settings(job: Job) -> RunConfig:
    """Return the settings of a recipe at the size and width of a job."""
    recipe = job.method if job.recipe == REFERENCE else job.recipe
    base = read_recipe(recipe)
    generator: dict[str, Any] = {"width": job.width}
    if base.get("generator", {}).get("name", "unet") == "unet":
        generator["depth"] = depth(job.size)
    data = {
        "path": job.data,
        "direction": job.direction,
        "load_size": round(job.size * 286 / 256),
        "crop_size": job.size,
        "max_images": job.images,
    }
    own = {
        "generator": generator,
        "discriminator": {"width": job.width},
        "data": data,
        "train": {
            "device": job.device,
            "precision": "fp32",
            "seed": job.seed,
            "samples": 0,
            "batch_size": 1,
        },
        "validate": {"health": 0, "features": job.features},
    }
    return resolve(merge(base, own))


def datasets(config: RunConfig) -> Datasets:
    """Open the training images."""
    return open_data(config.data, config.paired, config.train.seed, Path("x"), lambda text: None)


def test_images(config: RunConfig) -> ImageDataset:
    """Return the test images, resized to the size of the training crop."""
    index = index_split(config.data.path, "test", config.paired)
    assert index is not None
    data = replace(config.data, preprocess="resize", rotate90=False)
    return ImageDataset(index, data, (Domain(), Domain()), config.paired, 0, training=False)


def epochs_of(job: Job, images: int) -> int:
    """Return the number of epochs that is nearest to the steps of a job."""
    return max(2, round(job.steps / images))


def steps_of(job: Job) -> int:
    """Return the number of steps that a job takes: whole epochs, with batches of one."""
    images = len(datasets(settings(job)).train)
    return images * epochs_of(job, images)


def train_recipe(job: Job, folder: Path) -> float:
    """Train a recipe; write the translations of the test images; return seconds per step."""
    config = settings(job)
    times: list[float] = []
    run = viceversa.train(
        config,
        run=folder / "run",
        epochs=epochs_of(job, len(datasets(config).train)),
        on_step=lambda info: times.append(time.perf_counter()),
        quiet=True,
    )
    name = job.direction + ".safetensors"
    models = {"last": run / name}
    if datasets(config).split == "val":  # else the best model would be chosen by test images
        models["best"] = run / "best" / name
    for which, model in models.items():
        translate(config, viceversa.Translator.load(model, job.device).tensor, folder / which)
    return statistics.median(after - before for before, after in pairwise(times))


def train_reference(job: Job, folder: Path) -> float:
    """Train the public implementation on the same batches, as `train_recipe`."""
    config = settings(job)
    data, device = datasets(config), torch.device(job.device)
    seed_everything(job.seed)
    epochs = epochs_of(job, len(data.train))
    model, _ = reference_model(job.checkout, job.method, job.width, job.size, job.device, epochs)
    loader, times = Loader(data.train, 1, device), []
    for epoch in range(1, epochs + 1):
        for batch in loader.epoch(epoch):
            assert batch is not None
            model.set_input({"A": batch.a, "B": batch.b, "A_paths": "", "B_paths": ""})
            model.optimize_parameters()
            times.append(synchronized_time(device))
        model.update_learning_rate()
    generator = model.netG if job.method == "pix2pix" else model.netG_A
    # As its test script does by default: batch norm and dropout as in training.
    translate(config, torch.no_grad()(lambda x: generator(x.to(device)).cpu()), folder / "last")
    return statistics.median(after - before for before, after in pairwise(times))


def translate(config: RunConfig, network: Callable[[Tensor], Tensor], folder: Path) -> None:
    """Write the test images of the source domain, translated by a network."""
    side = config.data.direction[0]
    write_images(config, side, lambda x: to_pixels(network(x), Domain())[0], folder)


def write_images(
    config: RunConfig, side: str, convert: Callable[[Tensor], Pixels], folder: Path
) -> None:
    """Write the test images of a domain of the data, converted, under their names."""
    test = test_images(config)
    folder.mkdir(parents=True, exist_ok=True)
    for index, source in enumerate(test.sources(side)):
        pixels = convert(test.values(side, index, torch.device("cpu")))
        write(folder / f"{Path(str(source)).stem}.png", pixels)


def evaluate(method: str, fakes: Path, reals: Path, features: Path) -> dict[str, float]:
    """Return the metrics of a folder of translations."""
    pairs: Any = "yes" if method == "pix2pix" else "no"
    result = viceversa.evaluate(
        fakes, reals, pairs=pairs, metrics=METRICS[method], features=features
    )
    (direction,) = result["directions"].values()
    means = {name: value["mean"] for name, value in direction["means"].items()}
    found = means | direction["sets"]  # KID needs at least 100 images
    return {name: found[name] for name in METRICS[method] if name in found}


def in_process(job: Job, folder: Path) -> float:
    """Train in a process of its own, unless it is done; return the seconds per step."""
    done = folder / "job.json"
    if done.exists() and (result := json.loads(done.read_text()))["job"] == asdict(job):
        return float(result["seconds"])
    shutil.rmtree(folder, ignore_errors=True)
    words = [sys.executable, __file__, "--job", json.dumps(asdict(job)), str(folder)]
    answer = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds = float(answer.splitlines()[-1])
    write_json(done, {"job": asdict(job), "seconds": seconds})
    return seconds


def job_of(options: argparse.Namespace, recipe: str) -> Job:
    """Return the training of a recipe from seed 0."""
    return Job(
        options.method,
        recipe,
        str(options.data.absolute()),
        options.size,
        options.width,
        options.steps,
        0,
        options.device,
        str(options.reference.absolute()) if recipe == REFERENCE else "",
        str(options.features.absolute()),
        options.direction,
        options.images,
    )


def train_all(options: argparse.Namespace, root: Path) -> dict[str, dict[str, Any]]:
    """Train every recipe from every seed; return steps, times and metrics by recipe."""
    recipes = [*options.recipes, *([REFERENCE] if options.reference else [])]
    jobs = {Path(recipe).stem: job_of(options, recipe) for recipe in recipes}
    if options.equal_time:
        short = {name: replace(job, images=TIMED // 2, steps=TIMED) for name, job in jobs.items()}
        times = {name: in_process(job, root / f"timed-{name}") for name, job in short.items()}
        slowest = max(times.values())
        jobs = {
            name: replace(job, steps=round(job.steps * slowest / times[name]))
            for name, job in jobs.items()
        }
    reals = root / "reals"
    config, side = settings(next(iter(jobs.values()))), options.direction[1]
    write_images(config, side, lambda x: to_pixels(x, Domain())[0], reals)
    results: dict[str, dict[str, Any]] = {
        name: {"steps": steps_of(job), "seconds_per_step": []} for name, job in jobs.items()
    }
    for seed in range(options.seeds):
        for name, job in jobs.items():
            folder = root / f"{name}-{seed}"
            seconds = in_process(replace(job, seed=seed), folder)
            results[name]["seconds_per_step"].append(seconds)
            for which in ("last", "best"):
                if (folder / which).exists() and not options.no_metrics:
                    values = evaluate(options.method, folder / which, reals, options.features)
                    results[name].setdefault(which, []).append(values)
                    shown = ", ".join(f"{metric} {value:.4g}" for metric, value in values.items())
                    print(f"{name}, seed {seed}, {which}: {shown}", flush=True)
    return results


def draw_grid(options: argparse.Namespace, root: Path, recipes: list[str], path: Path) -> None:
    """Write a grid of test images: the source, each recipe of the first seed, the real image."""
    config = settings(job_of(options, options.method))
    write_images(
        config, config.data.direction[0], lambda x: to_pixels(x, Domain())[0], root / "sources"
    )
    folders = [root / "sources", *(root / f"{name}-0" / "last" for name in recipes)]
    if config.paired:
        folders.append(root / "reals")
    names = sorted(file.name for file in folders[0].iterdir())
    rows = [
        np.concatenate([read(folder / name) for folder in folders], axis=1)
        for name in names[:: max(1, len(names) // SHOWN)][:SHOWN]
    ]
    write(path, np.concatenate(rows))


def table(method: str, results: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table: the mean of each metric over the seeds, and its range."""
    metrics = METRICS[method]
    lines = [f"| recipe | steps | s/step | weights | {' | '.join(metrics)} |"]
    lines.append("|---" * (4 + len(metrics)) + "|")
    for name, one in results.items():
        for which in ("last", "best"):
            if which not in one:
                continue
            cells = []
            for metric in metrics:
                values = [values[metric] for values in one[which] if metric in values]
                if not values:
                    cells.append("not measured")
                    continue
                mean, low, high = statistics.mean(values), min(values), max(values)
                cells.append(f"{mean:.4g} ({low:.4g} to {high:.4g})")
            seconds = statistics.median(one["seconds_per_step"])
            lines.append(
                f"| {name} | {one['steps']} | {seconds:.3f} | {which} | {' | '.join(cells)} |"
            )
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["--job"]:
        job, folder = Job(**json.loads(sys.argv[2])), Path(sys.argv[3])
        print((train_reference if job.recipe == REFERENCE else train_recipe)(job, folder))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=tuple(METRICS), help="pix2pix: pairs; cyclegan: unpaired")
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipes", nargs="+", required=True)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--direction", choices=("ab", "ba"), default="ab")
    parser.add_argument("--grid", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2400, help="at least two epochs are trained")
    parser.add_argument("--images", type=int, default=0, help="training images of a domain at most")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--equal-time", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--no-metrics", action="store_true", help="only train and translate")
    parser.add_argument("--features", type=Path, default=Path(".venv/features"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.folder or Path(folder)
        results = train_all(options, root)
        if options.no_metrics:
            return
        write_results(options, results)
        if options.grid:
            draw_grid(options, root, list(results), options.grid)


def write_results(options: argparse.Namespace, results: dict[str, dict[str, Any]]) -> None:
    """Print the table and write the results."""
    print(table(options.method, results))
    paths = ("data", "reference", "features", "grid", "folder")
    about = {key: value for key, value in vars(options).items() if key not in paths}
    about |= {
        "date": date.today().isoformat(),
        "data": options.data.name,
        "torch": torch.__version__,
        "machine": machine(options.device),
        "results": results,
    }
    name = f"{date.today().isoformat()}-quality-{options.data.name}"
    name += "-equal-time" if options.equal_time else ""
    write_json(Path(__file__).parent / "results" / f"{name}.json", about)


if __name__ == "__main__":
    main()
