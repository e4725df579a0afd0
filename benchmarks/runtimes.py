"""Time of one translation by PyTorch, ONNX Runtime and OpenVINO, on the CPU in fp32.

GOMP_SPINCOUNT=1000 python benchmarks/runtimes.py [--networks resnet unet] [--threads 1 2]
The command `viceversa` sets the same variable. The networks have their default sizes: the ResNet
with 9 blocks and the U-Net of 256 px, each of width 64. Their weights are random, since the time
does not depend on them. Every round translates the same photo of 256x256 with each runtime, from
pixels to pixels, in the same process. The ratio to PyTorch is computed within each round. The
results are its median, smallest and largest value, for wall time and for processor time.
Writes benchmarks/results/DATE-runtimes-NETWORK.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine_peak import machine
from torch import nn

from viceversa.export.exporting import export, sample_images
from viceversa.files import write_json
from viceversa.images.domain import Domain
from viceversa.inference import Translator
from viceversa.inference.exported import EXPORT_FORMATS, ExportedNetwork, open_exported
from viceversa.networks import GENERATORS
from viceversa.networks.sizes import multiple_of, smallest_of

NETWORKS = {"resnet": "ResNet, 9 blocks", "unet": "U-Net of 256 px"}
SIDE = 256
WARM = 1  # translations that are not timed


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 3) for name, value in found.items()}


def translators(model: Translator, files: Sequence[Path]) -> dict[str, Translator]:
    """Return a translator for each runtime, with the current number of threads of torch."""
    found = {"torch": model}
    sizes = multiple_of(model.network), smallest_of(model.network)
    for kind, file in zip(EXPORT_FORMATS, files, strict=True):
        network = ExportedNetwork(open_exported(file), model.source, model.target, *sizes)
        found[kind.name] = Translator(network, model.source, model.target, "cpu")
    return found


def timed(translator: Translator, photo: Any) -> tuple[float, float]:
    """Return the wall time and the processor time of one translation."""
    wall, processor = time.perf_counter(), time.process_time()
    translator.pixels([photo])
    return time.perf_counter() - wall, time.process_time() - processor


def measure(runtimes: dict[str, Translator], photo: Any, rounds: int) -> dict[str, Any]:
    """Time each runtime in turn."""
    for translator in runtimes.values():
        for _ in range(WARM):
            translator.pixels([photo])
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runtimes}
    for _ in range(rounds):
        for name, translator in runtimes.items():
            times[name].append(timed(translator, photo))
    result: dict[str, Any] = {}
    for name, own in times.items():
        ratios = [
            [base[i] / one[i] for base, one in zip(times["torch"], own, strict=True)]
            for i in (0, 1)
        ]
        result[name] = {
            "seconds": summary([wall for wall, _ in own]),
            "speed_up": summary(ratios[0]),
            "speed_up_of_processor_time": summary(ratios[1]),
        }
    return result


def measure_network(name: str, threads: Sequence[int], rounds: int) -> dict[str, Any]:
    """Export a network and time it with each number of threads."""
    torch.manual_seed(0)
    make, config = GENERATORS[name]
    network: nn.Module = make(config(), 3, 3)
    model = Translator(network, Domain(), Domain(), "cpu")
    images, _ = sample_images(model)
    height, width, _ = images[0].shape
    around = (0, max(0, SIDE - height)), (0, max(0, SIDE - width)), (0, 0)
    photo = np.pad(images[0], around, "symmetric")[:SIDE, :SIDE]
    result: dict[str, Any] = {"export_seconds": {}, "deviation": {}, "threads": {}}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"model{kind.suffix}" for kind in EXPORT_FORMATS]
        for kind, file in zip(EXPORT_FORMATS, files, strict=True):
            began = time.perf_counter()
            found = export(model, {}, file, images[:1])
            result["export_seconds"][kind.name] = round(time.perf_counter() - began, 1)
            result["deviation"][kind.name] = {"largest": found.largest, "changed": found.changed}
        for count in threads:
            torch.set_num_threads(count)
            times = measure(translators(model, files), photo, rounds)
            result["threads"][count] = times
            for runtime, own in times.items():
                print(name, f"{count} threads", runtime, own, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    for name in options.networks:
        result = measure_network(name, options.threads, options.rounds)
        path = (
            Path(__file__).parent / "results" / f"{date.today().isoformat()}-runtimes-{name}.json"
        )
        write_json(
            path,
            {
                "date": date.today().isoformat(),
                "machine": machine("cpu"),
                "versions": {
                    one: metadata.version(one) for one in ("torch", "onnxruntime", "openvino")
                },
                "network": NETWORKS[name],
                "side": SIDE,
                "batch_size": 1,
                "rounds": options.rounds,
                "spin_count": os.environ.get("GOMP_SPINCOUNT"),
                "load": os.getloadavg()[0],
                **result,
            },
        )
        print(path)


if __name__ == "__main__":
    main()
