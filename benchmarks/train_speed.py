"""How long a training step takes, beside the reference implementation's in the same run.

python benchmarks/train_speed.py [--reference PATH] [--method pix2pix cyclegan] [--steps 8]
PATH is a checkout of junyanz/pytorch-CycleGAN-and-pix2pix; without it ours is timed alone. Same
networks, same shapes, batches of one made image; the steps of all ways in turn, so that a noisy
machine treats them alike. Writes benchmarks/results/DATE-train-speed-METHOD.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

from viceversa.build import make_method, resolve
from viceversa.checkpoint import write_json
from viceversa.config import merge, read_recipe
from viceversa.methods import Batch
from viceversa.runtime import Runtime
from viceversa.update import make_optimizers, set_rates, update

PRESETS = {"pix2pix": "pix2pix-reference", "cyclegan": "cyclegan-reference"}


def ours(method: str, precision: str, device: str) -> Callable[[Batch], None]:
    """A step of the preset that does what the reference does."""
    config = resolve(merge(read_recipe(PRESETS[method]), {"train": {"precision": precision}}))
    runtime = Runtime(device, precision)
    networks = make_method(config).train()
    runtime.place(networks)
    optimizers = make_optimizers(networks, config.train, runtime)
    set_rates(optimizers, config.train, 1)

    def step(batch: Batch) -> None:
        update(networks, batch, optimizers, runtime)

    return step


def theirs(method: str, folder: Path, device: str) -> Callable[[Batch], None]:
    """A step of the reference, with its own defaults."""
    sys.path.insert(0, str(folder))
    import models.cycle_gan_model
    import models.pix2pix_model

    common = {
        "isTrain": True, "checkpoints_dir": "unused", "name": "unused", "preprocess": "none",
        "device": torch.device(device), "direction": "AtoB", "input_nc": 3, "output_nc": 3,
        "ngf": 64, "ndf": 64, "n_layers_D": 3, "netD": "basic", "init_type": "normal",
        "init_gain": 0.02, "lr": 2e-4, "beta1": 0.5,
    }  # fmt: skip
    if method == "pix2pix":
        own: dict[str, Any] = {"netG": "unet_256", "norm": "batch", "no_dropout": False,
                               "gan_mode": "vanilla", "lambda_L1": 100.0}  # fmt: skip
        model = models.pix2pix_model.Pix2PixModel(Namespace(**common, **own))
    else:
        own = {"netG": "resnet_9blocks", "norm": "instance", "no_dropout": True,
               "gan_mode": "lsgan", "lambda_A": 10.0, "lambda_B": 10.0, "lambda_identity": 0.5,
               "pool_size": 50}  # fmt: skip
        model = models.cycle_gan_model.CycleGANModel(Namespace(**common, **own))

    def step(batch: Batch) -> None:
        model.set_input({"A": batch[0], "B": batch[1], "A_paths": "", "B_paths": ""})
        model.optimize_parameters()

    return step


def summary(seconds: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Seconds of a step, and how many times as fast it was as the reference's of the same turn."""
    table: dict[str, dict[str, Any]] = {}
    base = seconds.get("reference, fp32")
    for name, every in seconds.items():
        table[name] = {
            "median_s": round(statistics.median(every), 4),
            "least_s": round(min(every), 4),
            "most_s": round(max(every), 4),
        }
        if base is not None:
            ratios = [them / us for them, us in zip(base, every, strict=True)]
            table[name]["times_as_fast"] = round(statistics.median(ratios), 2)
            table[name]["spread"] = [round(min(ratios), 2), round(max(ratios), 2)]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--method", nargs="+", default=["pix2pix", "cyclegan"])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    wait = torch.cuda.synchronize if options.device.startswith("cuda") else lambda: None
    for method in options.method:
        ways = {
            "ours, fp32": ours(method, "fp32", options.device),
            "ours, bf16": ours(method, "bf16", options.device),
        }
        if options.reference:
            ways["reference, fp32"] = theirs(method, options.reference, options.device)
        batch = tuple(
            (torch.rand(1, 3, options.size, options.size) * 2 - 1).to(options.device)
            for _ in range(2)
        )
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(options.steps + 1):
            for name, step in ways.items():
                wait()
                began = time.perf_counter()
                step(batch)  # type: ignore[arg-type]
                wait()
                if number:  # the first one warms up
                    seconds[name].append(time.perf_counter() - began)
        table = summary(seconds)
        for name, row in table.items():
            print(f"{method}: {name}: {row}")
        name = f"{date.today().isoformat()}-train-speed-{method}.json"
        write_json(Path(__file__).parent / "results" / name, {
            "date": date.today().isoformat(), "torch": torch.__version__,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {options.device}",
            "threads": torch.get_num_threads(), "size": options.size, "batch": 1,
            "steps": options.steps, "steps_in_turn": table,
        })  # fmt: skip


if __name__ == "__main__":
    main()
