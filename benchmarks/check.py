"""Measure the time of `viceversa check` on 10,000 photos, without and with cached results.

python benchmarks/check.py [--files 10000] [--repeats 3]
Writes pairs of 512x512 JPEGs (quality 85), made from an image of the demo, into a temporary folder
and runs the command on them. The files are in the page cache, so decoding is measured, not the
disk. If all cores were free, the processor time is the wall time times the number of cores. Also
measures decoding with Pillow alone in one thread, and the time until pairs whose names do not match
are refused. Writes benchmarks/results/DATE-check.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

import viceversa
from viceversa.files import write_json

SIDE = 512
NOISE = 24  # files become as large as those of detailed photos


def write_photos(folder: Path, files: int) -> None:
    """Write pairs by name: crops of an enlarged photo, each with other noise."""
    photo = next(iter(sorted((Path(viceversa.__file__).parent / "demos/earth").rglob("*.jpg"))))
    with Image.open(photo) as file:
        wide = file.convert("RGB").resize((4 * SIDE, 2 * SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(wide, dtype=np.int16)

    def one(number: int) -> None:
        rng = np.random.default_rng(number)
        top, left = rng.integers(0, [SIDE, 3 * SIDE])
        part = pixels[top : top + SIDE, left : left + SIDE]
        part = part + rng.integers(-NOISE, NOISE + 1, part.shape, dtype=np.int16)
        path = folder / "train" / "AB"[number % 2] / f"{number // 2:05d}.jpg"
        Image.fromarray(part.clip(0, 255).astype(np.uint8)).save(path, quality=85)

    for domain in "AB":
        (folder / "train" / domain).mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(files)))


def command(data: Path, cache: Path, *options: str) -> tuple[float, str]:
    """Return the seconds and the output of `viceversa check`."""
    call = "from viceversa.cli import main; main()"
    words = [sys.executable, "-c", call, "check", str(data), "--pairs", "no", *options]
    began = time.perf_counter()
    done = subprocess.run(
        words,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    return time.perf_counter() - began, done.stdout + done.stderr


def with_pillow(data: Path, count: int) -> float:
    """Return the images/s that Pillow decodes in one thread."""
    paths = sorted(data.rglob("*.jpg"))[:count]
    began = time.perf_counter()
    for path in paths:
        with Image.open(path) as file:
            file.load()
    return len(paths) / (time.perf_counter() - began)


def refusal(data: Path) -> float:
    """Return the seconds until a dataset with unmatched names is refused, as before training."""
    code = (
        "import sys, time\n"
        "from viceversa.data import DataConfig\n"
        "from viceversa.data.check import check_dataset\n"
        "try: check_dataset(sys.argv[1], True, DataConfig(), names_first=True)\n"
        "except ValueError as error: print(error)\n"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, str(data)], capture_output=True, text=True, check=True
    )
    assert "without a partner" in done.stdout
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    first, busy, known, verified, unmatched, pillow = [], [], [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        data, cache = Path(folder) / "photos", Path(folder) / "cache"
        write_photos(data, options.files)
        size = sum(path.stat().st_size for path in data.rglob("*.jpg")) / options.files
        for _ in range(options.repeats):
            pillow.append(round(with_pillow(data, 500)))
            shutil.rmtree(cache, ignore_errors=True)
            before = os.times()
            seconds, output = command(data, cache)
            after = os.times()
            assert "No problems detected" in output, output
            busy.append(round(sum(after[2:4]) - sum(before[2:4]), 2))  # of child processes
            first.append(round(seconds, 2))
            seconds, repeated = command(data, cache)
            assert repeated == output
            known.append(round(seconds, 2))
            verified.append(round(command(data, cache, "--verify")[0], 2))
        for path in sorted((data / "train" / "B").iterdir())[1:]:
            path.rename(path.with_name("x" + path.name))
        for _ in range(options.repeats):
            unmatched.append(round(refusal(data), 2))
    results = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "files": options.files,
        "image": f"JPEG, {SIDE}x{SIDE}, {size / 1000:.0f} kB on average",
        "first_s": first,
        "first_cpu_s": busy,
        "known_s": known,
        "verify_s": verified,
        "names_refused_s": unmatched,
        "pillow_alone_images_per_s_and_thread": pillow,
    }
    for name, values in results.items():
        print(f"{name}: {values}")
    path = Path(__file__).parent / "results" / f"{date.today().isoformat()}-check.json"
    write_json(path, results)


if __name__ == "__main__":
    main()
