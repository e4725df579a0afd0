"""How long `viceversa check` takes over 10,000 photos: the first time, and when it knows them.

python benchmarks/check.py [--files 10000] [--repeats 3]
Makes pairs of 512x512 JPEGs (quality 85) from an image of the demo in a temporary folder, and runs
the whole command on them. The files' bytes are in memory, so that it is decoding that is timed, not
a disk. The processor's seconds tell whether the cores were free: of two, twice those of the clock.
Times reading them with Pillow alone, one after another, beside it; and how long it takes to refuse
pairs whose names don't match. Writes benchmarks/results/DATE-check.json.
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
NOISE = 24  # makes the files as large as those of detailed photos


def make(folder: Path, files: int) -> None:
    """Pairs by name: parts of an enlarged photo, each with noise of its own."""
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
    """Seconds of a whole `viceversa check`, and what it says."""
    call = "from viceversa.cli import main; main()"
    words = [sys.executable, "-c", call, "check", str(data), "--pairs", "yes", *options]
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
    """Images/s that one thread decodes with Pillow, and nothing else."""
    paths = sorted(data.rglob("*.jpg"))[:count]
    began = time.perf_counter()
    for path in paths:
        with Image.open(path) as file:
            file.load()
    return len(paths) / (time.perf_counter() - began)


def refusal(data: Path) -> float:
    """Seconds until pairs are refused, nearly all of whose names don't match; as training asks."""
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
        make(data, options.files)
        size = sum(path.stat().st_size for path in data.rglob("*.jpg")) / options.files
        for _ in range(options.repeats):
            pillow.append(round(with_pillow(data, 500)))
            shutil.rmtree(cache, ignore_errors=True)
            before = os.times()
            seconds, told = command(data, cache)
            after = os.times()
            assert "No problems detected" in told, told
            busy.append(
                round(
                    after.children_user
                    + after.children_system
                    - before.children_user
                    - before.children_system,
                    2,
                )
            )
            first.append(round(seconds, 2))
            seconds, again = command(data, cache)
            assert again == told
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
