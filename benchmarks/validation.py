"""Measure the cost of validation, diagnostics and sample grids, compared with training steps.

python benchmarks/validation.py [--size 256] [--steps 6] [--images 8] [--threads 1] [--device cpu]
    [--jobs facades-fp32 facades-bf16 cyclegan-fp32]
The recipes `facades` (pix2pix, U-Net) and `cyclegan` (ResNet-9) take training steps on images of
noise; then their monitor runs as in training. The time of each task is divided by the time of the
steps between two of them at the default settings: `fraction` is the increase of the training time.
On the CPU, processor time of all threads is measured. Writes
benchmarks/results/DATE-validation[-DEVICE].json.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine_peak import machine
from PIL import Image

from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, resolve
from viceversa.config.train import TrainConfig
from viceversa.config.validate import ValidateConfig
from viceversa.files import write_json
from viceversa.runtime.device import synchronized_time
from viceversa.training.log import Log
from viceversa.training.progress import Progress
from viceversa.training.run import Run
from viceversa.training.snapshot import snapshot
from viceversa.training.step import MicroBatch, updater
from viceversa.training.validation import TRAIN_IMAGES

JOBS = {
    "facades-fp32": ("facades", "fp32"),
    "facades-bf16": ("facades", "bf16"),
    "cyclegan-fp32": ("cyclegan", "fp32"),
    "cyclegan-bf16": ("cyclegan", "bf16"),
}
TRAIN = 8  # images


def noise(folder: Path, held_out: int, side: int) -> Path:
    """Write images of noise for training and validation."""
    rng = np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("val", held_out)):
        for domain in "AB":
            (folder / split / domain).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / domain / f"{number}.png")
    return folder


def settings(options: argparse.Namespace, job: str, data: Path, run: Path) -> RunConfig:
    recipe, precision = JOBS[job]
    size = options.size
    own: dict[str, dict[str, Any]] = {
        "data": {"path": str(data), "load_size": round(size * 286 / 256), "crop_size": size},
        "train": {"run": str(run), "precision": precision, "device": options.device},
        "validate": {"images": options.images},
    }
    if recipe == "facades":
        own["generator"] = {"depth": min(8, (size & -size).bit_length() - 1)}
    return resolve(merge(read_recipe(recipe), own))


def measured(options: argparse.Namespace, job: str, folder: Path) -> dict[str, Any]:
    """Return seconds of a step and of each task of the monitor, and the fractions they add."""
    data = noise(folder / "data", options.images, options.size)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        run = Run(settings(options, job, data, folder / "run"))
        run.choose_formats()
        run.method.train()
        report = Log(run.folder, TRAIN, 0, 10**9)
        monitor, validation = run.monitor, run.monitor.validation
        assert validation is not None
        device = run.runtime.device
        dataset = run.data.train
        loaded = [dataset.batch([(1, position)], device) for position in range(TRAIN)]
        batches = [batch for batch in loaded if batch is not None]

        def timed(work: Callable[[], object]) -> float:
            began = clock(device)
            work()
            return clock(device) - began

        step_on = updater(
            run.method, run.optimizers, run.runtime, 0.0, run.gradients, lambda text: None
        )
        each = [
            timed(lambda n=n: step_on([MicroBatch(batches[n % TRAIN])]))  # type: ignore[misc]
            for n in range(options.steps + 2)
        ]
        step = statistics.median(each[2:])
        progress = Progress(1, 0, 1)
        with snapshot(run.method) as players:
            generators = players.generators
            validation(generators)  # fills the cache, as in a run
            numbers = timed(lambda: validation(generators)) / options.images
            held_out = validation(generators)
            validation.errors(players, held_out)
            fitting = timed(lambda: validation.errors(players, held_out))
            monitor.diagnose(report, players, progress)
            diagnosis = timed(lambda: monitor.diagnose(report, players, progress))
            monitor.draw(report, players)
            samples = timed(lambda: monitor.draw(report, players))
        copies = statistics.median(timed(lambda: _copied(monitor)) for _ in range(3))
    return fractions(options, step, numbers, fitting, diagnosis, samples, copies)


def clock(device: torch.device) -> float:
    """Return the time in seconds; on the CPU, the processor time of this process."""
    return time.process_time() if device.type == "cpu" else synchronized_time(device)


def _copied(monitor: Any) -> None:
    with snapshot(monitor.method):
        pass


def fractions(
    options: argparse.Namespace,
    step: float,
    image: float,
    fitting: float,
    diagnosis: float,
    samples: float,
    copies: float,
) -> dict[str, Any]:
    """Return the fraction of training time that each task adds at the default settings."""
    train, validate = TrainConfig(), ValidateConfig()
    evaluated = min(TRAIN_IMAGES, TRAIN)  # training images that are evaluated
    fitting = fitting * TRAIN_IMAGES / evaluated
    parts = {
        "validation": (validate.images * image + fitting + copies) / (validate.every * step),
        "health": (diagnosis + copies) / (validate.health * step),
        "samples": (samples + copies) / (train.sample_every * step),
    }
    return {
        "seconds": {
            "step": step,
            "validated_image": image,
            "fitting_of_32_images": fitting,
            "diagnosis": diagnosis,
            "samples": samples,
            "copies": copies,
            "validation_of_100_images": validate.images * image + fitting + copies,
        },
        "fraction": parts | {"all": sum(parts.values())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS)[:3])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = {}
    for job in options.jobs:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found[job] = measured(options, job, Path(folder))
        words = "  ".join(f"{name} {x:.2%}" for name, x in found[job]["fraction"].items())
        seconds = "  ".join(f"{name} {x:.3f} s" for name, x in found[job]["seconds"].items())
        print(
            f"{job}: {words}\n    {seconds}  (took {time.perf_counter() - began:.0f} s)", flush=True
        )
    suffix = "" if options.device == "cpu" else f"-{torch.device(options.device).type}"
    path = Path(__file__).parent / "results" / f"{date.today().isoformat()}-validation{suffix}.json"
    train, validate = TrainConfig(), ValidateConfig()
    write_json(
        path,
        {
            "date": date.today().isoformat(),
            "machine": machine(options.device),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "size": options.size,
            "steps": options.steps,
            "images": options.images,
            "defaults": {
                "every": validate.every,
                "images": validate.images,
                "health": validate.health,
                "sample_every": train.sample_every,
                "samples": train.samples,
            },
            "jobs": found,
        },
    )


if __name__ == "__main__":
    main()
