"""Translate a large image in bands of rows and as a whole: difference, time, memory, seams.

python benchmarks/large_images.py [--side 768] [--turns 3] [--models FILE ...] [--images F]
    [--others F] [--networks resnet unet] [--features .venv/features]
Measures CycleGAN's ResNet (9 blocks) and pix2pix's U-Net (depth 8), both of width 64 with random
weights, on a square image of packaged photographs: the largest difference in [-1, 1] before
rounding, the ratio of the times (turns alternate, each in a separate process), and the measured and
estimated memory of bands and of the whole image. Measured memory is the peak minus the memory
before the translation. A strip with a width of 12,000 pixels needs as much memory as any taller
image of this width. With trained models, on a mosaic of images, for bands, for statistics of crops,
of crops of other images and of windows, and for tiles without and with an overlap of the receptive
field (each tile has its own statistics): the difference from the result of the whole image, the
seam score, and the differences from crops of the size in training that are translated alone
(pixels, colours and LPIPS at their centres). A third of the crops begins at multiples of their
size; the others are shifted by a quarter and a half of it. LPIPS needs the files of `viceversa
features`.
Writes benchmarks/results/DATE-large-images.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine_peak import machine
from PIL import Image
from torch import Tensor, nn

from viceversa.checkpoint import read_header
from viceversa.environment import keep_freed_memory
from viceversa.evaluation.features.store import load
from viceversa.fields import height_width, nested
from viceversa.files import write_json
from viceversa.images.sources import is_image_name
from viceversa.inference import Translator
from viceversa.inference.large_images import shared_norms
from viceversa.inference.memory import MemoryLimit
from viceversa.metrics.perceptual import lpips
from viceversa.networks.config import ResNetConfig, UNetConfig
from viceversa.networks.norms import use_policy
from viceversa.networks.resnet import ResNet
from viceversa.networks.unet import UNet
from viceversa.runtime.device import peak_memory
from viceversa.streaming import (
    BandedNetwork,
    SampledNorms,
    TiledNetwork,
    Windows,
    receptive_field,
    sampled_norms,
    whole_memory,
)
from viceversa.streaming.seams import Gradients

ROOT = Path(__file__).parent.parent
DEMO = Path(str(resources.files("viceversa") / "demos" / "earth" / "testA"))
NETWORKS = {
    "resnet": lambda: ResNet(ResNetConfig(width=64, blocks=9), 3, 3),
    "unet": lambda: UNet(UNetConfig(width=64, depth=8), 3, 3),
}
STRIPS = {"resnet": (64, 12_000), "unet": (256, 12_032)}  # height and width
TILE, TILES = 256, (4, 6)  # side, rows and columns of the tiles
BLENDS = (0, 8, 20, 40)  # pixels on each side of a border in which tiles are blended
CROP, SAMPLED = 256, ((2, 2), (3, 4))  # side, and rows and columns of crops
LPIPS = "alexnet"


def photographs(height: int, width: int, folder: Path | None = None) -> Tensor:
    """Return a mosaic of RGB images of one size, (1, 3, h, w).

    Args:
        height: Height of the mosaic.
        width: Width of the mosaic.
        folder: Folder of the images; None: held-out photographs of the unpaired demo.
    """
    files = [path for path in sorted((folder or DEMO).iterdir()) if is_image_name(path.name)]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in files]
    high, wide = -(-height // images[0].shape[0]), -(-width // images[0].shape[1])
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


def banded(
    network: nn.Module, image: Tensor, memory: int, norms: SampledNorms | None = None
) -> tuple[Tensor, BandedNetwork]:
    """Return the output in bands, and the network that computed it."""
    shape = image.shape[1], image.shape[2], image.shape[3]
    made = BandedNetwork(network, shape, memory, norms)
    rows: list[Tensor] = []
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        made(lambda start, end: image[:, :, start:end], rows.append, Path(scratch))
    return torch.cat(rows, dim=2), made


def job(name: str, way: str, height: int, width: int, memory: int, out: str) -> None:
    """Translate in this process; print the seconds and the memory as JSON."""
    network, image = network_of(name), photographs(height, width)
    measured: dict[str, Any] = {"estimate": whole_memory(network, (3, height, width))}
    keep_freed_memory()  # as the command does
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
    """Run `job` in a separate process."""
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


def ways(model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compare bands, crops, windows and tiles with the whole image and with single crops.

    Returns:
        By name, the mean absolute difference from the whole image in 8-bit units, the seam score
        minus the seam score of the whole image, and the values of `Crops.compare`.
    """
    translator = Translator.load(model, "cpu")
    network, side = translator.network, height_width(translator.preprocessing.crop_size)[0]
    image = photographs(TILES[0] * TILE, TILES[1] * TILE, options.images)
    height, width = image.shape[2:]
    reach = receptive_field(network, 3)
    with torch.inference_mode():
        whole: Tensor = network(image)
        plain, tiles = tiled(network, image, 0, 0)
        found = {"bands": (banded(network, image, 10**9)[0], tiles)}
        for down, across in SAMPLED:
            crops = sample(image, down, across)
            share = crops[:, 0].numel() / (height * width)
            name = f"{len(crops)} crops of {CROP} pixels ({share:.0%} of the image)"
            norms = sampled_norms(network, crops)
            found[name] = banded(network, image, 10**9, norms)[0], tiles
        norms = shared_norms(translator, MemoryLimit(translator), options.others)
        found[f"{norms.source} of other images"] = banded(network, image, 10**9, norms)[0], tiles
        shape = image.shape[1], height, width
        windows = Windows(network, shape, (side, side))
        windows.measure(lambda start, end: image[:, :, start:end])
        name = f"windows of {side} pixels"
        found[name] = banded(network, image, 10**9, windows.norms)[0], tiles
        found["whole image"] = whole, tiles
        alone = Crops(network, image, side, load(LPIPS, options.features)[0])
        found["tiles without an overlap"] = plain, tiles
        for blend in BLENDS:
            output, made = tiled(network, image, reach, blend)
            found[f"tiles with an overlap of {made.overlap} pixels, {2 * blend} blended"] = (
                output,
                made,
            )
    return {
        name: {
            "difference": float((output - whole).abs().mean() * 127.5),
            "seam_score": seam_score(output, whole, made),
            **alone.compare(output),
        }
        for name, (output, made) in found.items()
    }


class Crops:
    """Results of crops of the size in training, each of which is translated alone.

    The crops are at several positions relative to windows and tiles.

    Args:
        network: The network.
        image: (1, channels, height, width).
        side: Height and width of the crops.
        features: Network of LPIPS.
    """

    def __init__(self, network: nn.Module, image: Tensor, side: int, features: nn.Module) -> None:
        self.side, self.features = side, features
        with torch.inference_mode():
            results = [network(crop[None]) for crop in self._crops(image)]
        self.results = self._centres(torch.cat(results))

    def compare(self, output: Tensor) -> dict[str, float]:
        """Return the mean absolute differences of pixels and of mean colours, and LPIPS."""
        parts = self._centres(self._crops(output))
        difference = (parts - self.results) * 127.5
        with torch.inference_mode():
            perceptual = lpips(self.features, parts, self.results)
        return {
            "crop_difference": float(difference.abs().mean()),
            "crop_colour": float(difference.mean(dim=(2, 3)).abs().mean()),
            "crop_lpips": float(perceptual.mean()),
        }

    def _crops(self, image: Tensor) -> Tensor:
        """Return the crops at all positions, (n, channels, side, side)."""
        found = []
        for offset in (0, self.side // 4, self.side // 2):
            for top in range(offset, image.shape[2] - self.side + 1, self.side):
                for left in range(offset, image.shape[3] - self.side + 1, self.side):
                    found.append(image[:, :, top : top + self.side, left : left + self.side])
        return torch.cat(found)

    def _centres(self, crops: Tensor) -> Tensor:
        """Return the centres of crops, half as high and wide: edges lack neighbouring pixels."""
        first, half = self.side // 4, self.side // 2
        return crops[:, :, first : first + half, first : first + half]


def sample(image: Tensor, down: int, across: int) -> Tensor:
    """Return crops that are evenly spaced over an image."""
    tops, lefts = (
        torch.linspace(0, side - CROP, count).long().tolist()
        for side, count in zip(image.shape[2:], (down, across), strict=True)
    )
    crops = [image[:, :, y : y + CROP, x : x + CROP] for y in tops for x in lefts]
    return torch.cat(crops)


def tiled(network: nn.Module, image: Tensor, reach: int, blend: int) -> tuple[Tensor, TiledNetwork]:
    """Translate an image in tiles that overlap by `reach` and `blend` pixels on each side.

    The distance of tiles is TILE pixels.
    """
    multiple = int(network.multiple)
    side = -(-(TILE + 2 * (reach + blend)) // multiple) * multiple

    def memory(shape: tuple[int, int, int]) -> int:
        return 0 if max(shape[1:]) <= side else 10**12

    shape = image.shape[1], image.shape[2], image.shape[3]
    device = torch.device("cpu")
    made = TiledNetwork(network, shape, 10**11, reach, memory, 3, device, blend)
    rows: list[Tensor] = []
    made(lambda start, end: image[:, :, start:end], rows.append, Path())
    return torch.cat(rows, dim=2), made


def seam_score(output: Tensor, whole: Tensor, tiles: TiledNetwork) -> float:
    """Return the seam score of an output at the borders of tiles, relative to the whole image."""
    scores = []
    for one in (output, whole):
        gradients = Gradients(one.shape[3])
        gradients.add(one)
        period = int(tiles.network.multiple)
        scores.append(gradients.across(tiles.rows.borders, tiles.columns.borders, period))
    first, second = scores
    assert first is not None and second is not None
    return first - second


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=768)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--memory", type=float, default=0.4, help="GB for bands")
    parser.add_argument("--models", type=Path, nargs="*", default=[])
    parser.add_argument("--images", type=Path, help="folder of RGB images of one size")
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--others", type=Path, default=DEMO, help="images for other statistics")
    parser.add_argument("--features", type=Path, default=Path(".venv/features"))
    parser.add_argument("--job", nargs="*")
    options = parser.parse_args()
    if options.job:
        name, way, *numbers, out = options.job
        job(name, way, *map(int, numbers), out)
        return
    memory = round(options.memory * 1e9)
    results: dict[str, Any] = {"date": str(date.today()), "machine": machine("cpu")}
    results["torch"], threads = torch.__version__, {"threads": torch.get_num_threads()}
    for name in options.networks:
        results[name] = threads | compare(name, options.side, memory, options.turns)
        print(name, json.dumps(results[name], indent=2), flush=True)
        results[name]["strip"] = run(name, "banded", STRIPS[name], 4 * 10**9, None)
        print("strip", json.dumps(results[name]["strip"]), flush=True)
    for model in options.models:
        method = nested(read_header(model), "trained", "method")["name"]
        results[f"ways, {method}"] = threads | ways(model, options)
        print(method, json.dumps(results[f"ways, {method}"], indent=2), flush=True)
    write_json(ROOT / "benchmarks" / "results" / f"{date.today()}-large-images.json", results)


if __name__ == "__main__":
    main()
