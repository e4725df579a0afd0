"""How fast training images come: ours, read once, beside decoding and transforming each anew.

python benchmarks/loading.py DATA [--pairs 200] [--batch 1] [--side 0] [--repeats 5] [--cores 1 2]
DATA holds side-by-side files; with --side they are first made so many pixels a side, as JPEG. Both
ways make the same batches: 256 px crops from 286 px, mirrored half of the time, float32 in [-1, 1],
on the CPU. Ours is timed from the second epoch on, when every image is in memory (and again from a
file on disk). The runs of a repeat follow each other in turn.
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


def anew(path: Path, rng: np.random.Generator) -> list[torch.Tensor]:
    """A pair as the usual loader makes it: with Pillow, from the file, each time."""
    with Image.open(path) as file:
        pair = file.convert("RGB")
    half = pair.width // 2
    x, y = rng.integers(0, LOAD - CROP + 1, 2)
    flip = rng.random() < 0.5
    made = []
    for left in (0, half):
        image = pair.crop((left, 0, left + half, pair.height))
        image = image.resize((LOAD, LOAD), Image.Resampling.BICUBIC)
        image = image.crop((x, y, x + CROP, y + CROP))
        if flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
        made.append(pixels.float().div_(127.5).sub_(1))
    return made


def time_anew(paths: list[Path], batch: int, cores: int) -> float:
    """Seconds of one epoch of batches, `cores` images at a time."""
    rngs = [np.random.default_rng(number) for number in range(len(paths))]
    began = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        made = pool.map(anew, paths, rngs)
        waiting: list[list[torch.Tensor]] = []
        for pair in made:
            waiting.append(pair)
            if len(waiting) == batch:
                torch.stack([one for one, _ in waiting]), torch.stack([two for _, two in waiting])
                waiting.clear()
    return time.perf_counter() - began


def time_ours(loader: Loader, epoch: int) -> float:
    """Seconds of one epoch of batches."""
    began = time.perf_counter()
    for batch in loader.epoch(epoch):
        assert batch is not None
    return time.perf_counter() - began


def enlarged(data: Path, side: int, pairs: int, folder: Path) -> Path:
    """The pairs at so many pixels a side, in another folder."""
    found = index_split(data, "train", True)
    assert found is not None
    for number, source in enumerate(found.a[:pairs]):
        with Image.open(source.path) as pair:
            pair.convert("RGB").resize((2 * side, side)).save(folder / f"{number}.jpg", quality=90)
    return folder


def measure(options: argparse.Namespace, cores: int) -> dict[str, dict[str, Any]]:
    """Each way's images/s, and how many times as fast it was as Pillow in the same repeat."""
    torch.set_num_threads(cores)
    config = DataConfig(path=str(options.data), workers=0 if cores == 1 else cores)
    found = index_split(options.data, "train", True, config)
    assert found is not None
    few = replace(found, a=found.a[: options.pairs], b=found.b[: options.pairs])
    in_memory, on_disk = (
        ImageDataset(few, config, (Domain(), Domain()), True, 0, training=True) for _ in range(2)
    )
    cpu = torch.device("cpu")
    loaders = [Loader(one, options.batch, cpu) for one in (in_memory, on_disk)]
    paths = [source.path for source in few.a]
    ways: dict[str, Callable[[int], float]] = {
        "each anew with Pillow": lambda epoch: time_anew(paths, options.batch, cores),
        "in memory": lambda epoch: time_ours(loaders[0], epoch),
        "from one file": lambda epoch: time_ours(loaders[1], epoch),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    digests = {source: sha256(source.read()).hexdigest() for source in (*few.a, *few.b)}
    on_disk.digests = digests
    with tempfile.TemporaryDirectory() as folder:
        on_disk.cache_on_disk(Path(folder), lambda text: None)
        time_ours(loaders[0], 1)
        time_ours(loaders[1], 1)
        for repeat in range(options.repeats):
            for name, way in ways.items():
                seconds[name].append(way(2 + repeat))
    slow = seconds["each anew with Pillow"]
    summary = {}
    for name, every in seconds.items():
        times = [before / after for before, after in zip(slow, every, strict=True)]
        summary[name] = {
            "images_per_s": [round(2 * len(paths) / one) for one in every],
            "times_as_fast": [round(one, 1) for one in times],
            "median": round(statistics.median(times), 1),
        }
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--side", type=int, default=0, help="first make the images so large")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    results: dict[str, object] = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
        "torch": torch.__version__,
        "pillow": PIL.__version__,
        "pairs": options.pairs,
        "side": options.side or "as they are",
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
    name = f"{date.today().isoformat()}-loading-{options.side or 'as-they-are'}.json"
    write_json(Path(__file__).parent / "results" / name, results)


if __name__ == "__main__":
    main()
