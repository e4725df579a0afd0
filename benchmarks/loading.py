"""Compare the cached loading of training images with decoding every image in every epoch.

python benchmarks/loading.py DATA [--pairs 200] [--batch 1] [--side 0] [--repeats 5] [--cores 1 2]
DATA contains side-by-side files; with --side they are first resized to JPEGs of that size. All
methods return the same batches: 256 px crops from 286 px, flipped half of the time, float32 in
[-1, 1], on the CPU. The package is measured from the second epoch on, when all images are in the
memory cache, or in the disk cache. The methods alternate within a repeat.
Writes benchmarks/results/DATE-loading-SIDE.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image

from viceversa.data import DataConfig, index_split
from viceversa.data.dataset import ImageDataset
from viceversa.data.loader import Loader
from viceversa.files import write_json
from viceversa.images.domain import Domain

LOAD, CROP = 286, 256


def decode(path: Path, rng: np.random.Generator) -> list[torch.Tensor]:
    """Load a pair from its file with Pillow, as common data loaders do."""
    with Image.open(path) as file:
        pair = file.convert("RGB")
    half = pair.width // 2
    x, y = rng.integers(0, LOAD - CROP + 1, 2)
    flip = rng.random() < 0.5
    results = []
    for left in (0, half):
        image = pair.crop((left, 0, left + half, pair.height))
        image = image.resize((LOAD, LOAD), Image.Resampling.BICUBIC)
        image = image.crop((x, y, x + CROP, y + CROP))
        if flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
        results.append(pixels.float().div_(127.5).sub_(1))
    return results


def time_decoding(paths: list[Path], batch: int, cores: int) -> float:
    """Return the seconds of an epoch of batches, with `cores` threads."""
    rngs = [np.random.default_rng(number) for number in range(len(paths))]
    began = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        results = pool.map(decode, paths, rngs)
        waiting: list[list[torch.Tensor]] = []
        for pair in results:
            waiting.append(pair)
            if len(waiting) == batch:
                torch.stack([one for one, _ in waiting]), torch.stack([two for _, two in waiting])
                waiting.clear()
    return time.perf_counter() - began


def time_cached(loader: Loader, epoch: int) -> float:
    """Return the seconds of an epoch of batches."""
    began = time.perf_counter()
    for batch in loader.epoch(epoch):
        assert batch is not None
    return time.perf_counter() - began


def enlarged(data: Path, side: int, pairs: int, folder: Path) -> Path:
    """Write the pairs, resized to `side` pixels, into a folder."""
    index = index_split(data, "train", True)
    assert index is not None
    for number, source in enumerate(index.a[:pairs]):
        with Image.open(source.path) as pair:
            pair.convert("RGB").resize((2 * side, side)).save(folder / f"{number}.jpg", quality=90)
    return folder


def measure(options: argparse.Namespace, cores: int) -> dict[str, dict[str, Any]]:
    """Return images/s of each method, and the speedup over Pillow in the same repeat."""
    torch.set_num_threads(cores)
    config = DataConfig(path=str(options.data), workers=0 if cores == 1 else cores)
    index = index_split(options.data, "train", True, config)
    assert index is not None
    subset = replace(index, a=index.a[: options.pairs], b=index.b[: options.pairs])
    in_memory, on_disk = (
        ImageDataset(subset, config, (Domain(), Domain()), True, 0, training=True) for _ in range(2)
    )
    cpu = torch.device("cpu")
    loaders = [Loader(one, options.batch, cpu) for one in (in_memory, on_disk)]
    paths = [source.path for source in subset.a]
    methods: dict[str, Callable[[int], float]] = {
        "decoding with Pillow": lambda epoch: time_decoding(paths, options.batch, cores),
        "memory cache": lambda epoch: time_cached(loaders[0], epoch),
        "disk cache": lambda epoch: time_cached(loaders[1], epoch),
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    digests = {source: sha256(source.read()).hexdigest() for source in (*subset.a, *subset.b)}
    on_disk.digests = digests
    with tempfile.TemporaryDirectory() as folder:
        on_disk.cache_on_disk(Path(folder), lambda text: None)
        time_cached(loaders[0], 1)
        time_cached(loaders[1], 1)
        for repeat in range(options.repeats):
            for name, method in methods.items():
                seconds[name].append(method(2 + repeat))
    slow = seconds["decoding with Pillow"]
    summary = {}
    for name, values in seconds.items():
        times = [before / after for before, after in zip(slow, values, strict=True)]
        summary[name] = {
            "images_per_s": [round(2 * len(paths) / one) for one in values],
            "times_as_fast": [round(one, 1) for one in times],
            "median": round(statistics.median(times), 1),
        }
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--side", type=int, default=0, help="resize the images first, in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    results: dict[str, object] = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
        "torch": torch.__version__,
        "pillow": PIL.__version__,
        "pairs": options.pairs,
        "side": options.side or "original",
        "batch": options.batch,
        "images": f"{LOAD} px, crops of {CROP}",
    }
    stack = ExitStack()
    if options.side:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options.data = enlarged(options.data, options.side, options.pairs, folder)
    for cores in options.cores:
        summary = measure(options, cores)
        results[f"{cores} cores"] = summary
        for name, row in summary.items():
            print(f"{cores} cores: {row['median']:6.1f} x  {name}  {row['images_per_s']} images/s")
    stack.close()
    name = f"{date.today().isoformat()}-loading-{options.side or 'original'}.json"
    write_json(Path(__file__).parent / "results" / name, results)


if __name__ == "__main__":
    main()
