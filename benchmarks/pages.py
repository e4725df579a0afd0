"""Measure `report.html` of a run with a long log: cold, refreshed during training, and opened.

python benchmarks/pages.py [--lines 300000] [--repeats 5]
Writes a run folder with a log of that many training lines and 20 validations, and one sample grid.
Measures the processor time of `json.loads` of each line; of `viceversa report`, as a process and
within this one; and of the refresh after 20 more lines, also with a new sample grid. The best of
the repeats counts. Measures the wall time until Chromium has opened the page (with playwright).

Other processes make these times longer. The results are written to
benchmarks/results/DATE-pages.json if the machine was quiet: the processor time of the refreshes is
at least 80 % of their wall time, and the load is below 1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image

from viceversa.files import write_json
from viceversa.reports import RunPage, run_page

APPENDED = 20  # lines between two refreshes
EVERY = 20  # images between two lines


def train_line(number: int) -> str:
    """Return a training line of a pix2pix run."""
    draw = random.Random(number)
    decay = math.exp(-number / 100_000)
    entry = {
        "kind": "train",
        "time": 1.75e9 + 2.5 * number,
        "step": EVERY * number,
        "epoch": 1 + EVERY * number // 400,
        "images": EVERY * number,
        "lr": 2e-4,
        "images_per_s": round(8 + draw.random(), 2),
        "loss.d_real": 0.3 * draw.random(),
        "loss.d_fake": 0.3 * draw.random(),
        "loss.g_l1": 20 + 20 * decay + draw.random(),
        "loss.g_gan": 1 + draw.random(),
        "grad_norm.generator": 5 * draw.random(),
        "grad_norm.discriminator": draw.random(),
    }
    return json.dumps(entry) + "\n"


def validation_line(number: int, l1: float) -> str:
    """Return a validation line."""
    common = {"kind": "validation", "time": 1.75e9 + 2.5 * number, "images": EVERY * number}
    return json.dumps({**common, "split": "val", "n": 100, "val.l1": l1, "val.psnr": 20.0}) + "\n"


def sample_grid(path: Path, seed: int) -> None:
    """Write a grid of 4 samples of 256 px, as smooth as photos."""
    small = np.random.default_rng(seed).integers(0, 256, (65, 49, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize((776, 1034), Image.Resampling.BICUBIC).save(path)


def write_run(folder: Path, lines: int) -> None:
    """Write a run folder."""
    with (folder / "log.jsonl").open("w") as file:
        for number in range(1, lines + 1):
            file.write(train_line(number))
            if number % (lines // 20) == 0:
                file.write(validation_line(number, 0.4 - 0.01 * number / lines))
    (folder / "config.json").write_text(json.dumps({"train": {"epochs": 40 * lines // 400}}))
    machine = {"total_images": 2 * EVERY * lines, "sample_columns": ["source", "translation"]}
    (folder / "machine.json").write_text(json.dumps(machine))
    sample_grid(folder / "samples/00000000.png", 0)


def processor_time(function: Callable[[], object]) -> float:
    """Return the processor seconds of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def parse(log: Path) -> None:
    """Parse each line with the json module."""
    with log.open() as file:
        for line in file:
            json.loads(line)


def command(folder: Path) -> float:
    """Return the processor seconds of `viceversa report`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    call = [sys.executable, "-m", "viceversa", "report", str(folder)]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def refreshes(folder: Path, lines: int, repeats: int) -> dict[str, list[float]]:
    """Return processor and wall seconds of refreshes, without and with a new sample grid."""
    page = RunPage(folder)
    page.write()
    found: dict[str, list[float]] = {"lines_s": [], "lines_wall_s": [], "lines_and_grid_s": []}
    for turn in range(2 * repeats):
        start = lines + APPENDED * turn
        with (folder / "log.jsonl").open("a") as file:
            file.writelines(map(train_line, range(start + 1, start + APPENDED + 1)))
        if turn % 2:
            sample_grid(folder / f"samples/{EVERY * (start + APPENDED):08d}.png", turn)
        wall = time.perf_counter()
        seconds = processor_time(page.write)
        wall = time.perf_counter() - wall
        if turn % 2:
            found["lines_and_grid_s"].append(seconds)
        else:
            found["lines_s"].append(seconds)
            found["lines_wall_s"].append(wall)
    return found


def open_seconds(path: Path, repeats: int) -> list[float]:
    """Return the wall seconds until Chromium has loaded and drawn the page; [] without it."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    if chromium is None:
        return []
    found = []
    drawn = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(repeats):
            page = browser.new_page()
            start = time.perf_counter()
            page.goto(path.absolute().as_uri())
            page.evaluate(drawn)
            found.append(time.perf_counter() - start)
            page.close()
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=300_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_run(folder, options.lines)
        times: dict[str, list[float]] = {"json_loads_s": [], "page_s": [], "command_s": []}
        for _ in range(options.repeats):  # in turns: other processes slow all of them
            times["json_loads_s"].append(processor_time(lambda: parse(folder / "log.jsonl")))
            times["page_s"].append(processor_time(lambda: run_page(folder)))
            times["command_s"].append(command(folder))
        times |= refreshes(folder, options.lines, options.repeats)
        times["open_wall_s"] = open_seconds(folder / "report.html", options.repeats)
        size = (folder / "report.html").stat().st_size
    best = {name: min(values) for name, values in times.items() if values}
    result = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "lines": options.lines,
        "page_bytes": size,
        "load_before": load,
        "page_to_json_loads": best["page_s"] / best["json_loads_s"],
        "command_to_json_loads": best["command_s"] / best["json_loads_s"],
        **{name: [round(value, 4) for value in values] for name, values in times.items()},
    }
    print(json.dumps(result, indent=2))
    if load >= 1 or best["lines_s"] < 0.8 * best["lines_wall_s"]:
        print("not written: other processes used the machine, so that these times are too long")
        return
    path = Path(__file__).parent / "results" / f"{date.today()}-pages.json"
    write_json(path, result)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
