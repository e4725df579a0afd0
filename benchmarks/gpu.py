"""Run all tests and measurements of a GPU: tests, step times, a short run. Use it through gpu.sh.

Four parts, each with a separate time limit, 8 minutes in total; a part that fails or reaches its
limit does not stop the others. The first two run at the same time, step times are measured after
them:

- tests: `pytest -m cuda`
- training: the recipe `facades` on --data FACADES (else the recipe `demo` on its own images),
  stopped by SIGTERM, resumed by the same command, and evaluated on held-out images
- pix2pix, cyclegan: `train_speed.py` for the method, compared with --reference PATH

Writes DIR/DATE-gpu.json, the JSON files of train_speed.py, each part's output as a .log file, and
the last sample grid of the run, and prints a summary. --tiny runs the same script in a minute
on small networks, also with --device cpu; its time limits are five times as long.
The exit code is 1 if a part failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from machine_peak import machine

from viceversa import run_log
from viceversa.files import write_json

HERE = Path(__file__).parent
LIMITS = {"tests": 200, "training": 150, "pix2pix": 120, "cyclegan": 150}  # seconds
AT_ONCE = "tests", "training"
GRACE = 15  # seconds after the limit
MARK = "pytest.mark.cuda"
VARIANTS = ["reference", "plain", "fp32", "tf32", "bf16", "bf16-eager"]  # compiling is too slow
Result = dict[str, Any]


class PartError(Exception):
    """A part failed, for the reason in the message."""


class Part:
    """One part: its options, output folder and time limit."""

    def __init__(self, options: argparse.Namespace, name: str):
        self.options, self.out = options, options.out
        self.ends = time.monotonic() + LIMITS[name] * options.time * (5 if options.tiny else 1)

    def left(self) -> float:
        """Return the seconds until the time limit."""
        return self.ends - time.monotonic()

    def run(self, log: str, *command: object, stop: tuple[Path, float] | None = None) -> int:
        """Run a Python command with its output in a file; return its exit code.

        `stop`: send SIGTERM so many seconds after a file exists. Raises PartError at the limit.
        """
        path = self.out / f"{log}.log"
        with path.open("a") as file:
            process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=HERE.parent,
                start_new_session=True,
            )
            try:
                if stop:
                    path, seconds = stop
                    while not path.exists() and process.poll() is None and self.left() > 0:
                        time.sleep(0.2)
                    time.sleep(seconds)
                    process.terminate()
                return process.wait(max(0.0, self.left()))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)  # pytest then prints what has failed so far
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
                raise PartError("stopped at its time limit") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def tests(part: Part) -> Result:
    """Run the tests marked `cuda`. Warnings of other versions of torch are not errors."""
    processes = 0 if part.options.tiny else 6
    files = [one for one in (HERE.parent / "tests").rglob("test_*.py") if MARK in one.read_text()]
    command: list[object] = ["-m", "pytest", *files, "-m", "cuda", "-n", processes]
    command += ["-o", "addopts=", "-o", "filterwarnings=default", "-p", "no:cacheprovider"]
    code = part.run("tests", *command, "--tb=short", "--durations=8")
    text = (part.out / "tests.log").read_text()
    counts = {name: int(n) for n, name in re.findall(r"(\d+) (passed|failed|skipped|error)", text)}
    result = {**counts, "failed_tests": re.findall(r"^(?:FAILED|ERROR) (\S+)", text, re.M)}
    if code not in (0, 5) or not counts:
        raise PartError(json.dumps(result))
    return result


def speed(part: Part, method: str) -> Result:
    """Time the steps of a method in each variant."""
    options = part.options
    command: list[object] = [HERE / "train_speed.py", "--method", method]
    command += ["--device", options.device, "--results", part.out]
    command += ["--variants", *options.variants, "--limit", part.left() - GRACE]
    if options.device == "cuda":
        command += ["--steps", 6, "--per_turn", 10 if method == "pix2pix" else 4]
    if options.tiny:
        command += ["--size", 32, "--width", 8, "--steps", 2]
        command += ["--variants", "plain", "bf16", "--no-peak"]
    if options.reference:
        command += ["--reference", options.reference.resolve()]
    if part.run(method, *command):
        raise PartError(_last_line(part.out / f"{method}.log"))
    path = next(part.out.glob(f"*-train-speed-{method}*.json"))
    variants = json.loads(path.read_text())["variants"]
    keys = "median_s", "images_per_s", "memory_gb", "mfu", "times_as_fast"
    return {name: {k: row[k] for k in keys if k in row} for name, row in variants.items()}


def training(part: Part) -> Result:
    """Train, stop by SIGTERM, resume, and evaluate."""
    options, run = part.options, part.out / "run"
    data = options.data or Path(str(resources.files("viceversa") / "demos" / "openmoji"))
    seconds = (1 if options.tiny else 35) * options.time
    settings = {
        "train.run": run,
        "train.device": options.device,
        "train.precision": "bf16" if options.device == "cuda" else "fp32",
        "train.log_every": 40,
        "train.sample_every": 2000,
        "validate.every": 800 if options.tiny else 4000,
    }
    recipe = "facades" if options.data else "demo"
    command: list[object] = ["-m", "viceversa", "train", recipe, data.resolve()]
    command += [word for name, value in settings.items() for word in (f"--{name}", value)]
    if options.tiny:
        command += ["--generator.width", 4, "--discriminator.width", 4, "--train.batch_size", 4]
    code = part.run("training", *command, stop=(run / "log.jsonl", seconds))
    if code != 143:
        raise PartError(f"exit code {code} after SIGTERM, not 143")
    stopped = _newest(run)
    end = f"--train.max_time={(3 if options.tiny else 35) * options.time / 60:.3f}"
    code = part.run("training", *command, end)
    if code != 75:
        raise PartError(f"exit code {code} at train.max_time, not 75")
    if _newest(run) <= stopped:
        raise PartError(f"resumed from {stopped} images, and saved {_newest(run)}")
    evaluated = part.out / "evaluation"
    command = ["-m", "viceversa", "evaluate", run, data.resolve(), "-o", evaluated]
    command += ["--device", options.device, "--metrics", "l1", "ssim"]
    code = part.run("training", *command)
    if code:
        raise PartError(f"evaluate ended with exit code {code}")
    entries = run_log.read(run / run_log.NAME)
    rates = [entry["images_per_s"] for entry in entries if entry["kind"] == "train"]
    validated = [entry["val.l1"] for entry in entries if entry["kind"] == "validation"]
    metrics = json.loads((evaluated / "metrics.json").read_text())["directions"]
    samples = max((run / "samples").iterdir())
    shutil.copy(samples, part.out / "samples.png")
    return {
        "data": "facades" if options.data else "demo",
        "images": [stopped, _newest(run)],
        "images_per_s": statistics.median(rates),
        "validation_l1": validated,
        "evaluation": {
            name: {metric: value["mean"] for metric, value in direction["means"].items()}
            for name, direction in metrics.items()
        },
    }


def _newest(run: Path) -> int:
    """Return the images processed at the newest checkpoint."""
    paths = list((run / "checkpoints").glob("*.safetensors"))
    return int(max(paths).stem) if paths else 0


def _last_line(log: Path) -> str:
    return next((line for line in reversed(log.read_text().splitlines()) if line.strip()), "")


PARTS: dict[str, Callable[[Part], Result]] = {
    "tests": tests,
    "training": training,
    "pix2pix": lambda part: speed(part, "pix2pix"),
    "cyclegan": lambda part: speed(part, "cyclegan"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--data", type=Path, help="a facades folder with train/ and val/")
    parser.add_argument("--reference", type=Path, help="a checkout of the reference")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--variants", nargs="+", default=VARIANTS, help="as in train_speed.py")
    parser.add_argument("--time", type=float, default=1.0, help="factor of all time limits")
    options = parser.parse_args()
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    report: Result = {
        "date": date.today().isoformat(),
        "device": options.device,
        "tiny": options.tiny,
        "machine": machine(options.device),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "parts": {},
    }

    def finish(name: str) -> None:
        began = time.monotonic()
        try:
            result = {"ok": True, **PARTS[name](Part(options, name))}
        except PartError as error:
            result = {"ok": False, "reason": str(error)}
        result["wall_s"] = round(time.monotonic() - began, 1)
        report["parts"][name] = result
        write_json(options.out / f"{report['date']}-gpu.json", report)
        print(f"{name}: {json.dumps(result)}", flush=True)

    with ThreadPoolExecutor() as pool:
        list(pool.map(finish, [name for name in options.parts if name in AT_ONCE]))
    for name in options.parts:
        if name not in AT_ONCE:
            finish(name)
    sys.exit(not all(part["ok"] for part in report["parts"].values()))


if __name__ == "__main__":
    main()
