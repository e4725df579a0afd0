"""Time of one translation by PyTorch, ONNX Runtime and OpenVINO, on the CPU in fp32 and INT8.

GOMP_SPINCOUNT=1000 python benchmarks/runtimes.py [--networks resnet unet] [--threads 1 2]
    [--model FILE --photos FOLDER]
The command `viceversa` sets the same variable. The networks have their default sizes: the ResNet
with 9 blocks and the U-Net of 256 px, each of width 64. Their weights are random, since the time
does not depend on them. Every round translates the same photo of 256x256 with each runtime, from
pixels to pixels, in the same process. The ratio to PyTorch is computed within each round. The
results are its median, smallest and largest value, for wall time and for processor time.
With --model, a trained model is measured instead; the PSNR of INT8 relative to fp32 is measured on
photos that were not used for calibration. INT8 (OpenVINO) is measured if nncf is installed.
Writes benchmarks/results/DATE-runtimes-NETWORK.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from machine_peak import machine
from torch import nn

from viceversa.cli.export_images import read_images
from viceversa.export.exporting import Pixels, export, of_size, sample_images
from viceversa.export.int8 import MOST, crop, export_int8
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


def translators(model: Translator, files: dict[str, Path]) -> dict[str, Translator]:
    """Return a translator for each runtime, with the current number of threads of torch."""
    found = {"torch": model}
    sizes = multiple_of(model.network), smallest_of(model.network)
    for name, file in files.items():
        network = ExportedNetwork(open_exported(file), model.source, model.target, *sizes)
        found[name] = Translator(network, model.source, model.target, "cpu")
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


def of_random_weights(name: str) -> tuple[Translator, list[Pixels]]:
    """Return a translator with a network of the default size, and photos."""
    torch.manual_seed(0)
    make, config = GENERATORS[name]
    network: nn.Module = make(config(), 3, 3)
    model = Translator(network, Domain(), Domain(), "cpu")
    return model, sample_images(model)[0]


def measure_network(
    name: str, model: Translator, images: list[Pixels], threads: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Export a network and time it with each number of threads."""
    photo = of_size(images[0], SIDE, SIDE)
    result: dict[str, Any] = {"export_seconds": {}, "deviation": {}, "threads": {}}
    with tempfile.TemporaryDirectory() as folder:
        files = {kind.name: Path(folder) / f"model{kind.suffix}" for kind in EXPORT_FORMATS}
        for runtime, file in files.items():
            began = time.perf_counter()
            found = export(model, {}, file, images[:1])
            result["export_seconds"][runtime] = round(time.perf_counter() - began, 1)
            result["deviation"][runtime] = {"largest": found.largest, "changed": found.changed}
        if importlib.util.find_spec("nncf"):
            files["openvino-int8"] = file = Path(folder) / "int8.xml"
            crops = [crop(image, model) for image in images]
            began = time.perf_counter()
            quantized = export_int8(model, {}, file, images[:1], crops, anyway=True)[1]
            result["export_seconds"]["openvino-int8"] = round(time.perf_counter() - began, 1)
            result["int8"] = quantized._asdict()
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
    parser.add_argument("--model", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--name", default="trained", help="of the result of --model")
    options = parser.parse_args()
    for name in [options.name] if options.model else options.networks:
        if options.model:
            model = Translator.load(options.model, "cpu")
            images = read_images(model, options.photos, "--photos", MOST)
        else:
            model, images = of_random_weights(name)
        result = measure_network(name, model, images, options.threads, options.rounds)
        path = (
            Path(__file__).parent / "results" / f"{date.today().isoformat()}-runtimes-{name}.json"
        )
        write_json(
            path,
            {
                "date": date.today().isoformat(),
                "machine": machine("cpu"),
                "versions": {
                    one: metadata.version(one)
                    for one in ("torch", "onnxruntime", "openvino", "nncf")
                    if importlib.util.find_spec(one)
                },
                "network": NETWORKS.get(name, name),
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
