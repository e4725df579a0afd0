"""Translate a large TIFF with the command, and measure its memory and temporary files.

python benchmarks/large_file.py [--height 12000] [--width 12000] [--memory 5] [--threads 1]
    [--statistics exact] [--folder FOLDER]
Writes a tiled TIFF (a mosaic of packaged photographs) and a model, CycleGAN's ResNet (9 blocks,
width 64) with random weights, and runs `viceversa translate` in a separate process. Ten times a
second, the anonymous memory of this process and the size of its temporary files (which have no
names) are measured.
Writes benchmarks/results/DATE-large-file-STATISTICS.json.
"""

from __future__ import annotations

import argparse
import os
import re
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from large_images import network_of, photographs
from machine_peak import machine

from viceversa.checkpoint import save_network
from viceversa.config.recipes import read_recipe
from viceversa.fields import plain
from viceversa.files import write_json
from viceversa.images.domain import Domain
from viceversa.images.rows import open_rows

TILE = 512
EVERY = 0.1  # seconds between measurements


def write_image(path: Path, height: int, width: int) -> None:
    """Write a tiled TIFF."""
    pixels = ((photographs(height, width)[0].movedim(0, -1) + 1) * 127.5).round().byte().numpy()
    tifffile.imwrite(path, pixels, tile=(TILE, TILE), compression="deflate", photometric="rgb")


def write_model(path: Path) -> None:
    """Write the generator of the recipe `cyclegan` with random weights."""
    domain = plain(Domain())
    about = {"kind": "translator", "direction": "ab", "source": domain, "target": domain}
    save_network(
        path,
        network_of("resnet").state_dict(),
        {**about, "generator": read_recipe("cyclegan")["generator"]},
    )


def anonymous(process: int) -> int:
    """Return the anonymous memory of a process in bytes; 0 if it has ended."""
    with suppress(OSError):
        found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0


def temporary(process: int) -> int:
    """Return the disk space of the deleted files that a process has open, in bytes."""
    total = 0
    with suppress(OSError):
        for file in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                status = file.stat()
                if stat.S_ISREG(status.st_mode) and not status.st_nlink:
                    total += status.st_blocks * 512
    return total


def measure(words: list[str], threads: int) -> dict[str, Any]:
    """Run the command; return its time, memory, temporary files, and what it prints."""
    began, memory, files = time.perf_counter(), 0, 0
    limits = {"OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(words, stdout=output, env=os.environ | limits)
        while process.poll() is None:
            memory = max(memory, anonymous(process.pid))
            files = max(files, temporary(process.pid))
            time.sleep(EVERY)
        seconds = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(process.returncode)
        output.seek(0)
        printed = output.read().splitlines()
    return {"seconds": seconds, "peak_memory": memory, "peak_files": files, "printed": printed}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--height", type=int, default=12_000)
    parser.add_argument("--width", type=int, default=12_000)
    parser.add_argument("--memory", type=float, default=5.0, help="GB")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--statistics", default="exact")
    parser.add_argument("--folder", type=Path, help="folder for the files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        model, image, result = folder / "ab.safetensors", folder / "x.tif", folder / "y.tif"
        write_model(model)
        write_image(image, options.height, options.width)
        words = [sys.executable, "-m", "viceversa", "translate", str(model), str(image), "-o"]
        words += [str(result), "--max_megapixels", "1000", "--memory", str(options.memory)]
        words += ["--scratch", str(folder / "scratch"), "--statistics", options.statistics]
        found = measure([*words, "--device", "cpu"], options.threads)
        with open_rows(result, max_pixels=10**9) as rows:
            assert (rows.height, rows.width) == (options.height, options.width)
            values = np.asarray(rows.rows(0, min(TILE, rows.height)))
            found["result"] = {"mean": float(values.mean()), "deviation": float(values.std())}
            found["result"]["bytes"] = result.stat().st_size
    found["printed"] = [line.replace(f"{folder}/", "") for line in found["printed"]]
    about = {"date": str(date.today()), "machine": machine("cpu"), "torch": torch.__version__}
    about |= {k: v for k, v in vars(options).items() if k != "folder"}
    print(found)
    path = (
        Path(__file__).parent / "results" / f"{date.today()}-large-file-{options.statistics}.json"
    )
    write_json(path, about | found)


if __name__ == "__main__":
    main()
