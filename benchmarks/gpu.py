"""Run everything that concerns a GPU: tests, step times, a short training. Use it through gpu.sh.

Four parts, each a process with a time limit of its own, 8 minutes in all; a part that fails or runs
out of time does not stop the next one:

- tests: `pytest -m cuda`
- pix2pix, cyclegan: `train_speed.py` for the method, beside the reference with --reference PATH
- training: the recipe `facades` on --data FACADES (else the recipe `demo` on its own images),
  stopped by SIGTERM, resumed by the same command, and evaluated on held-out images

Writes DIR/DATE-gpu.json, the JSON files of train_speed.py, each part's output as a .log file, and
the last sample grid of the training, and prints a summary. --tiny runs the same script in a minute
on small networks, also with --device cpu; it has five times as long, for a machine that is busy.
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
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from machine_peak import machine

from viceversa.files import write_json

HERE = Path(__file__).parent
LIMITS = {"tests": 120, "pix2pix": 110, "cyclegan": 130, "training": 120}  # seconds
Result = dict[str, Any]


class PartError(Exception):
    """A part failed; the message says why."""


class Session:
    """The options, and the folder that the results are written to."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.out = options, options.out
        self.ends = 0.0  # the time limit of the part that is running

    def left(self) -> float:
        """Seconds until the part's time limit."""
        return self.ends - time.monotonic()

    def run(self, log: str, *command: object, stop: tuple[Path, float] | None = None) -> int:
        """Run a Python command with its output in a file; return its exit code.

        `stop`: send SIGTERM so many seconds after a file exists. Raises PartError at the limit.
        """
        path = self.out / f"{log}.log"
        with path.open("a") as file:
            process = subprocess.Popen(
                [sys.executable, *map(str, command)], stdout=file, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, cwd=HERE.parent, start_new_session=True,
            )  # fmt: skip
            try:
                if stop:
                    path, seconds = stop
                    while not path.exists() and process.poll() is None and self.left() > 0:
                        time.sleep(0.2)
                    time.sleep(seconds)
                    process.terminate()
                return process.wait(max(0.0, self.left()))
            except subprocess.TimeoutExpired:
                raise PartError("stopped at its time limit") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def tests(session: Session) -> Result:
    """Run the tests marked `cuda`."""
    code = session.run("tests", "-m", "pytest", "-m", "cuda", "-o", "addopts=", "-p",
                       "no:cacheprovider", "--tb=short", "--durations=8", "tests")  # fmt: skip
    text = (session.out / "tests.log").read_text()
    counts = {name: int(n) for n, name in re.findall(r"(\d+) (passed|failed|skipped|error)", text)}
    result = {**counts, "failed_tests": re.findall(r"^(?:FAILED|ERROR) (\S+)", text, re.M)}
    if code not in (0, 5) or not counts:
        raise PartError(json.dumps(result))
    return result


def speed(session: Session, method: str) -> Result:
    """Time the steps of a method in each way."""
    options = session.options
    command: list[object] = [HERE / "train_speed.py", "--method", method, "--device",
                             options.device, "--results", session.out]  # fmt: skip
    if options.tiny:
        command += ["--size", 32, "--width", 8, "--steps", 2, "--ways", "plain", "bf16",
                    "--no-peak"]  # fmt: skip
    if options.reference:
        command += ["--reference", options.reference.resolve()]
    if session.run(method, *command):
        raise PartError(_last_line(session.out / f"{method}.log"))
    path = next(session.out.glob(f"*-train-speed-{method}*.json"))
    ways = json.loads(path.read_text())["ways"]
    kept = "median_s", "images_per_s", "memory_gb", "mfu", "times_as_fast"
    return {name: {key: way[key] for key in kept if key in way} for name, way in ways.items()}


def training(session: Session) -> Result:
    """Train, stop by SIGTERM, resume, and evaluate."""
    options, run = session.options, session.out / "run"
    data = options.data or Path(str(resources.files("viceversa") / "demos" / "openmoji"))
    seconds = 1 if options.tiny else 35
    command: list[object] = [
        "-m", "viceversa", "train", "facades" if options.data else "demo", data.resolve(),
        "--train.run", run, "--train.device", options.device, "--train.precision",
        "bf16" if options.device == "cuda" else "fp32", "--train.log_every", 40,
        "--train.sample_every", 2000, "--validate.every", 800 if options.tiny else 4000,
    ]  # fmt: skip
    if options.tiny:
        command += ["--generator.width", 4, "--discriminator.width", 4, "--train.batch_size", 4]
    code = session.run("training", *command, stop=(run / "log.jsonl", seconds))
    if code != 143:
        raise PartError(f"exit code {code} after SIGTERM, not 143")
    stopped = _newest(run)
    end = f"--train.max_time={(3 if options.tiny else 35) / 60:.3f}"
    code = session.run("training", *command, end)
    if code != 75:
        raise PartError(f"exit code {code} at train.max_time, not 75")
    if _newest(run) <= stopped:
        raise PartError(f"resumed from {stopped} images, and saved {_newest(run)}")
    evaluated = session.out / "evaluation"
    code = session.run(
        "training", "-m", "viceversa", "evaluate", run, data.resolve(), "-o", evaluated,
        "--device", options.device, "--metrics", "l1", "ssim",
    )  # fmt: skip
    if code:
        raise PartError(f"evaluate ended with exit code {code}")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    rates = [line["images_per_s"] for line in lines if "losses" in line]
    validated = [line["validation"]["raw"]["l1"] for line in lines if "validation" in line]
    metrics = json.loads((evaluated / "metrics.json").read_text())["ways"]
    samples = max((run / "samples").iterdir())
    shutil.copy(samples, session.out / "samples.png")
    return {
        "data": "facades" if options.data else "demo", "images": [stopped, _newest(run)],
        "images_per_s": statistics.median(rates), "validation_l1": validated,
        "evaluation": {name: {metric: value["mean"] for metric, value in way["means"].items()}
                       for name, way in metrics.items()},
    }  # fmt: skip


def _newest(run: Path) -> int:
    """The images processed at the newest checkpoint."""
    found = [path for path in (run / "checkpoints").glob("*.safetensors")]
    return int(max(found).stem) if found else 0


def _last_line(log: Path) -> str:
    return next((line for line in reversed(log.read_text().splitlines()) if line.strip()), "")


PARTS: dict[str, Callable[[Session], Result]] = {
    "tests": tests,
    "pix2pix": lambda session: speed(session, "pix2pix"),
    "cyclegan": lambda session: speed(session, "cyclegan"),
    "training": training,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--data", type=Path, help="a facades folder with train/ and val/")
    parser.add_argument("--reference", type=Path, help="a checkout of the reference")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    session = Session(options)
    results: Result = {
        "date": date.today().isoformat(), "device": options.device, "tiny": options.tiny,
        "machine": machine(options.device), "python": platform.python_version(),
        "torch": torch.__version__, "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(), "parts": {},
    }  # fmt: skip
    failed: list[str] = []
    for name in options.parts:
        began = time.monotonic()
        session.ends = began + LIMITS[name] * (5 if options.tiny else 1)
        try:
            result = {"ok": True, **PARTS[name](session)}
        except PartError as error:
            result = {"ok": False, "reason": str(error)}
            failed.append(name)
        result["wall_s"] = round(time.monotonic() - began, 1)
        results["parts"][name] = result
        write_json(options.out / f"{date.today().isoformat()}-gpu.json", results)
        print(f"{name}: {json.dumps(result)}", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
