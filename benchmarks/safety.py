"""Measure the cost of the safety measures at 256 px: the check of every step, and checkpoints.

python benchmarks/safety.py [--steps 12] [--saves 3]
pix2pix as published (U-Net of depth 8, width 64), batch size 1, on random images. Steps with the
check of losses and gradients alternate with the same steps without it. Writes
benchmarks/results/DATE-safety.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import date
from itertools import chain
from pathlib import Path

import torch
from PIL import Image

from viceversa.batch import Batch
from viceversa.checkpoint import Checkpoints, load_state
from viceversa.config.recipes import read_recipe
from viceversa.config.run import make_method, resolve
from viceversa.data.open import open_data
from viceversa.files import write_json
from viceversa.methods.base import Method
from viceversa.runtime.training import Runtime
from viceversa.training.checkpoint import run_state
from viceversa.training.gradients import GradientStats
from viceversa.training.models import write_models
from viceversa.training.progress import Progress
from viceversa.training.setup import make_optimizers, set_learning_rates
from viceversa.training.step import MicroBatch, Optimizers, update


def unchecked(method: Method, batch: Batch, optimizers: Optimizers) -> None:
    """Take the same step as `update`, without any check."""
    players = method.players()
    for player, losses in method.step(Batch(*batch)):
        assert player is not None
        weights = list(chain.from_iterable(n.parameters() for n in players[player]))
        optimizers[player].zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward(inputs=weights)
        optimizers[player].step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--saves", type=int, default=3)
    options = parser.parse_args()
    config = resolve(read_recipe("pix2pix"))
    runtime = Runtime("cpu")
    method = make_method(config).train()
    optimizers = make_optimizers(method, config.train, runtime)
    set_learning_rates(optimizers, config.train, 1)
    watch = GradientStats(runtime.device)
    batch = Batch(*torch.rand(2, 1, 3, 256, 256) * 2 - 1)
    seconds: dict[str, list[float]] = {"checked": [], "unchecked": []}
    for number in range(options.steps + 1):
        began = time.perf_counter()
        update(method, [MicroBatch(batch)], optimizers, runtime, stats=watch)
        middle = time.perf_counter()
        for optimizer in optimizers.values():
            optimizer.found_inf = None
        unchecked(method, batch, optimizers)
        ended = time.perf_counter()
        if number:  # the first is a warm-up
            seconds["checked"].append(middle - began)
            seconds["unchecked"].append(ended - middle)
    ratios = [c / u for c, u in zip(seconds["checked"], seconds["unchecked"], strict=True)]
    saves, loads, models = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for domain in "AB":
            Path(folder, "data", domain).mkdir(parents=True)
            Image.new("RGB", (300, 300), "red").save(Path(folder, "data", domain, "0.png"))
        settings = replace(config.data, path=str(Path(folder, "data")))
        data = open_data(settings, True, 0, Path(folder), lambda text: None)
        checkpoints = Checkpoints(Path(folder) / "checkpoints", 2)
        for number in range(options.saves):
            began = time.perf_counter()
            state = run_state(config, data, method, optimizers, Progress(), {}, runtime, {})
            path = checkpoints.save(state, number)
            saves.append(time.perf_counter() - began)
            began = time.perf_counter()
            write_models(
                Path(folder),
                config,
                data.train.domains,
                method,
                method.translators(),
                {"images_processed": number},
            )
            models.append(time.perf_counter() - began)
            began = time.perf_counter()
            load_state(path)
            loads.append(time.perf_counter() - began)
        size = path.stat().st_size
    both = statistics.median(saves) + statistics.median(models)
    results = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "step_s": round(statistics.median(seconds["checked"]), 4),
        "check_times": {
            "median": round(statistics.median(ratios), 3),
            "all": [round(ratio, 3) for ratio in ratios],
        },
        "state_mb": round(size / 1e6),
        "save_s": [round(s, 2) for s in saves],
        "models_s": [round(s, 2) for s in models],
        "load_s": [round(s, 2) for s in loads],
        "fraction_of_ten_minutes": round(both / 600, 4),
    }
    for name, value in results.items():
        print(f"{name}: {value}")
    write_json(
        Path(__file__).parent / "results" / f"{date.today().isoformat()}-safety.json", results
    )


if __name__ == "__main__":
    main()
