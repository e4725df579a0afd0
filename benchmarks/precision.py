"""Compare the results of training in bf16 and fp32 on facades at a reduced size.

python benchmarks/precision.py DATA [--size 128] [--width 32] [--epochs 3] [--seeds 0 1 2]
    [--images 100] [--device cpu]
DATA is a facades folder (train/ and val/, photo left, labels right). The recipe `facades` (pix2pix,
labels -> photo) is trained at a smaller size with several seeds. The mean absolute error on `val`
in [-1, 1] is always computed in fp32. The question is whether the mean of bf16 is in the range of
the seeds of fp32. The negative control is an untrained network. Writes benchmarks/results/DATE-
precision[-DEVICE].json.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
from facades import untrained, val_l1
from machine_peak import machine

from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, resolve
from viceversa.files import write_json
from viceversa.inference import Translator
from viceversa.training.loop import train

PRECISIONS = ("fp32", "bf16")


def settings(options: argparse.Namespace, precision: str, seed: int, run: Path) -> RunConfig:
    """Return the recipe at a size, without samples and intermediate checkpoints."""
    size = options.size
    depth = min(8, (size & -size).bit_length() - 1)
    own: dict[str, dict[str, Any]] = {
        "generator": {"depth": depth, "width": options.width},
        "discriminator": {"width": options.width},
        "data": {
            "path": str(options.data),
            "load_size": round(size * 286 / 256),
            "crop_size": size,
        },
        "train": {
            "run": str(run),
            "epochs": options.epochs,
            "seed": seed,
            "precision": precision,
            "device": options.device,
            "samples": 0,
            "save_minutes": 0.0,
        },
    }
    return resolve(merge(read_recipe("facades"), own))


def trained(options: argparse.Namespace, precision: str, seed: int) -> tuple[float, float]:
    """Train a run; return its error on val and the seconds."""
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        config = settings(options, precision, seed, Path(folder) / "run")
        began = time.perf_counter()
        with contextlib.redirect_stdout(nowhere):
            run = train(config)
        seconds = time.perf_counter() - began
        translator = Translator.load(run / "ba.safetensors")
        return val_l1(translator, options.data, options.images, options.size), seconds


def compare(errors: dict[str, dict[int, float]]) -> dict[str, Any]:
    """Return the means, the range of fp32, and whether the mean of bf16 is in it."""
    means = {one: statistics.mean(errors[one].values()) for one in PRECISIONS}
    least, most = min(errors["fp32"].values()), max(errors["fp32"].values())
    return {
        "means": means,
        "fp32_least": least,
        "fp32_most": most,
        "bf16_within": least <= means["bf16"] <= most,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    errors: dict[str, dict[int, float]] = {one: {} for one in PRECISIONS}
    before = {}
    for seed in options.seeds:
        start = untrained(settings(options, "fp32", seed, Path("unused")))
        before[seed] = val_l1(start, options.data, options.images, options.size)
        print(f"seed {seed}, before training: L1 on val {before[seed]:.4f}", flush=True)
        for precision in PRECISIONS:
            errors[precision][seed], seconds = trained(options, precision, seed)
            print(
                f"seed {seed}, {precision}: L1 on val {errors[precision][seed]:.4f} "
                f"({seconds:.0f} s)",
                flush=True,
            )
    found = compare(errors)
    for precision, mean in found["means"].items():
        print(f"mean of {precision}: {mean:.4f}")
    within = "in" if found["bf16_within"] else "NOT in"
    limits = f"{found['fp32_least']:.4f} to {found['fp32_most']:.4f}"
    print(f"the mean of bf16 is {within} the range of fp32, {limits}")
    suffix = "" if options.device == "cpu" else f"-{torch.device(options.device).type}"
    path = Path(__file__).parent / "results" / f"{date.today().isoformat()}-precision{suffix}.json"
    write_json(
        path,
        {
            "date": date.today().isoformat(),
            "machine": machine(options.device),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "recipe": "facades, labels -> photo",
            "size": options.size,
            "width": options.width,
            "epochs": options.epochs,
            "val_images": options.images,
            "l1_before_training": before,
            "l1": errors,
            **found,
        },
    )


if __name__ == "__main__":
    main()
