"""Translate a large image by bands of rows and as a whole: difference, time, memory, seams.

python benchmarks/large_images.py [--side 768] [--turns 3] [--model demo-cyclegan/ab.safetensors]
For CycleGAN's ResNet (9 blocks) and pix2pix's U-Net (depth 8), both of width 64 with random
weights, on a square image of packaged photographs: the largest difference in [-1, 1] before
rounding, the ratio of the times (turns alternate, each in a process of its own), the peak memory
of the bands and of the whole image beyond that of the process before, and the estimates of both. A
strip of 12,000 pixels width shows the memory that an image of that width needs, of any height.
With a trained model: the seam score of tiles, of tiles with the overlap of the receptive field
(each tile has the statistics of itself), and of bands, on a mosaic of held-out photographs. Writes
benchmarks/results/DATE-large-images.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine_peak import machine
from PIL import Image
from torch import Tensor, nn

from viceversa.files import write_json
from viceversa.inference import Translator
from viceversa.networks.config import ResNetConfig, UNetConfig
from viceversa.networks.norms import use_policy
from viceversa.networks.resnet import ResNet
from viceversa.networks.unet import UNet
from viceversa.runtime.device import peak_memory
from viceversa.streaming import BandedNetwork, reach, whole_memory

ROOT = Path(__file__).parent.parent
NETWORKS = {
    "resnet": lambda: ResNet(ResNetConfig(width=64, blocks=9), 3, 3),
    "unet": lambda: UNet(UNetConfig(width=64, depth=8), 3, 3),
}
STRIPS = {"resnet": (64, 12_000), "unet": (256, 12_032)}  # height and width
TILE = 96  # the borders of tiles are not those of the photographs, 128 px


def photographs(height: int, width: int) -> Tensor:
    """Return a mosaic of the held-out photographs of the unpaired demo, (1, 3, h, w)."""
    folder = Path(str(resources.files("viceversa") / "demos" / "earth" / "testA"))
    images = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.jpg"))]
    side = images[0].shape[0]
    high, wide = -(-height // side), -(-width // side)
    rows = [
        np.concatenate([images[(i * wide + j) % len(images)] for j in range(wide)], axis=1)
        for i in range(high)
    ]
    pixels = np.concatenate(rows)[:height, :width]
    return torch.from_numpy(pixels.copy()).movedim(-1, 0)[None].float() / 127.5 - 1


def network_of(name: str) -> nn.Module:
    """Return a network with random weights of a fixed seed."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    use_policy(network)
    return network


def banded(network: nn.Module, image: Tensor, memory: int) -> tuple[Tensor, BandedNetwork]:
    """Return the output by bands, and the network that computed it."""
    made = BandedNetwork(network, (image.shape[1], image.shape[2], image.shape[3]), memory)
    rows: list[Tensor] = []
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        made(lambda start, end: image[:, :, start:end], rows.append, Path(scratch))
    return torch.cat(rows, dim=2), made


def job(name: str, way: str, height: int, width: int, memory: int, out: str) -> None:
    """Translate in this process; print the seconds and the memory as JSON."""
    network, image = network_of(name), photographs(height, width)
    measured: dict[str, Any] = {"estimate": whole_memory(network, (3, height, width))}
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before, began = peak_memory(torch.device("cpu")), time.perf_counter()
    if way == "whole":
        with torch.inference_mode():
            output = network(image)
    else:
        output, made = banded(network, image, memory)
        measured = {
            "estimate": made.memory,
            "band": made.band,
            "scratch": made.plan.scratch,
            "traffic": made.plan.traffic,
            "arithmetic": made.plan.arithmetic,
        }
    measured["seconds"] = time.perf_counter() - began
    measured["memory"] = peak_memory(torch.device("cpu")) - before
    if out:
        np.save(out, output.numpy())
    print(json.dumps(measured))


def run(name: str, way: str, size: tuple[int, int], memory: int, out: Path | None) -> Any:
    """Run `job` in a process of its own."""
    words = ["--job", name, way, *map(str, (*size, memory)), str(out or "")]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def compare(name: str, side: int, memory: int, turns: int) -> dict[str, Any]:
    """Compare bands with the whole image, in turns."""
    results: dict[str, list[Any]] = {"whole": [], "banded": []}
    with tempfile.TemporaryDirectory() as folder:
        files = {way: Path(folder) / f"{way}.npy" for way in results}
        for _ in range(turns):
            for way, found in results.items():
                found.append(run(name, way, (side, side), memory, files[way]))
        whole, bands = (np.load(file) for file in files.values())
    ratios = sorted(b["seconds"] / w["seconds"] for w, b in zip(*results.values(), strict=True))
    median = {
        way: {key: statistics.median(one[key] for one in found) for key in found[0]}
        for way, found in results.items()
    }
    rounded = [np.round((one + 1) * 127.5) for one in (whole, bands)]
    return {
        "side": side,
        "difference": float(np.abs(whole - bands).max()),
        "bytes_off": float((rounded[0] != rounded[1]).mean()),
        "time_ratio": {"median": statistics.median(ratios), "all": ratios},
        **median,
    }


def seams(model: Path) -> dict[str, Any]:
    """Return the seam scores of a trained model, less that of the whole image."""
    network = Translator.load(model, "cpu").network
    image = photographs(4 * TILE, 4 * TILE)
    multiple = int(network.multiple)
    overlap = -(-reach(network, 3, multiple) // multiple) * multiple
    with torch.inference_mode():
        outputs = {"whole": network(image), "tiles": tiled(network, image, 0)}
        outputs["tiles with overlap"] = tiled(network, image, overlap)
        outputs["bands"] = banded(network, image, 10**9)[0]
    scores = {name: seam_score(output, multiple) for name, output in outputs.items()}
    return {
        "tile": TILE,
        "overlap": overlap,
        "seam_score": {name: score - scores["whole"] for name, score in scores.items()},
        "difference": {
            name: float((output - outputs["whole"]).abs().mean() * 127.5)
            for name, output in outputs.items()
        },
    }


def tiled(network: nn.Module, image: Tensor, overlap: int) -> Tensor:
    """Translate tiles, each with `overlap` pixels of its surroundings, and join them."""
    side = image.shape[2]
    output = torch.empty_like(image)
    for top, left in positions(side):
        low, first = max(top - overlap, 0), max(left - overlap, 0)
        high, last = min(top + TILE + overlap, side), min(left + TILE + overlap, side)
        part = network(image[:, :, low:high, first:last])
        inside = part[:, :, top - low : top - low + TILE, left - first : left - first + TILE]
        output[:, :, top : top + TILE, left : left + TILE] = inside
    return output


def positions(side: int) -> Iterator[tuple[int, int]]:
    """Yield the top left corners of the tiles."""
    for top in range(0, side, TILE):
        for left in range(0, side, TILE):
            yield top, left


def seam_score(output: Tensor, multiple: int) -> float:
    """Return the mean gradient across tile borders over that across columns and rows nearby.

    These are a multiple of the network's period away: transposed convolutions have a pattern.
    """
    across = [(output.diff(dim=dim).abs().mean(dim=(0, 1, 5 - dim))) for dim in (2, 3)]
    borders = torch.arange(TILE, output.shape[2], TILE) - 1
    shifts = [shift for shift in (-4, -3, -2, 2, 3, 4)]
    at = torch.cat([one[borders] for one in across]).mean()
    beside = torch.cat([one[borders + shift * multiple] for one in across for shift in shifts])
    return float(at / beside.mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=768)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--memory", type=float, default=0.4, help="GB for bands")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--job", nargs="*")
    options = parser.parse_args()
    if options.job:
        name, way, *numbers, out = options.job
        job(name, way, *map(int, numbers), out)
        return
    memory = round(options.memory * 1e9)
    results: dict[str, Any] = {"date": str(date.today()), "machine": machine("cpu")}
    results |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    for name in NETWORKS:
        results[name] = compare(name, options.side, memory, options.turns)
        print(name, json.dumps(results[name], indent=2), flush=True)
        results[name]["strip"] = run(name, "banded", STRIPS[name], 4 * 10**9, None)
        print("strip", json.dumps(results[name]["strip"]), flush=True)
    if options.model:
        results["seams"] = seams(options.model)
        print(json.dumps(results["seams"], indent=2))
    write_json(ROOT / "benchmarks" / "results" / f"{date.today()}-large-images.json", results)


if __name__ == "__main__":
    main()
