"""Measure the time of a training step, compared with the reference implementation.

python benchmarks/train_speed.py [--reference PATH] [--method pix2pix cyclegan] [--steps 8]
    [--device cuda] [--size 256] [--batch 1] [--width 64] [--threads N] [--variants fp32 bf16]
    [--grow] [--loader --data PATH]
PATH is a checkout of junyanz/pytorch-CycleGAN-and-pix2pix; without it, only this package is
measured. Networks and shapes are the same, the images random. Each variant runs in a separate
process: this package with the process settings of its command, the reference without any, as its
users run it. The processes take one step in turn (ten on a GPU), one at a time, so that noise
affects all variants equally; ratios are those of the same turn. `plain` is this package with all
options of `speed` off.

MFU is the fraction of the peak FLOP rate that a step uses: the lower bound by operations divided by
the median. A lower bound is the time of a step if only one resource counted:
- operations: FLOPs of all convolutions of a step, forward and backward, counted by torch, at the
  measured rate of a large square matrix product in the same precision with the same threads;
- bytes: 40 for each trained weight in any precision, at the measured copy rate: the weight read
  forward and backward, its gradient written and read, the weight and two moments of Adam read and
  written (10 numbers of 4 bytes). Activations, and weights of networks that are called several
  times, are not counted again;
- launches (a GPU without a graph): the kernels of a step, each as long as launching an empty one.
Memory is the peak memory of a process, with Python and torch; on a GPU, that of the GPU.

--grow: time of a step by batch size, image size and width. --loader: images/s of the training
loader in the first and in later epochs, compared with the fastest step.
Writes DATE-train-speed-METHOD[-DEVICE][-growth].json into benchmarks/results (--results DIR).
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from machine_peak import best
from train_job import Job
from train_variants import BEST, SAME, VARIANTS, computed_in, count
from train_worker import Measurement, Worker, WorkerError, race

import viceversa
from viceversa.files import write_json

Row = dict[str, Any]

BYTES = 40  # per weight and step, see above
KNOWN = {"pix2pix": 43.47, "cyclegan": 939.61}  # 10^9 MACs at 256 px, batch 1 and width 64
GROWTH = {"batch": (1, 2, 4, 8), "size": (128, 256, 512), "width": (16, 32, 64)}


def lower_bounds(macs: int, weights: int, kernels: int | None, precision: str, peak: Row) -> Row:
    """Return the lower bounds of a step in seconds by operations, bytes and launches."""
    by: Row = {"operations": 2 * macs / peak[precision], "bytes": BYTES * weights / peak["bytes"]}
    if kernels:
        by["launches"] = kernels * peak["launch_s"]
    return by


def summary(
    job: Job, precision: str, measured: Measurement, peak: Row, reference: list[float]
) -> Row:
    """Return times of a variant, its speedup over the reference per turn, and lower bounds."""
    seconds = measured.turns
    median = statistics.median(seconds)
    row: Row = {
        **measured.about,
        "multiplies_in": precision,
        "seconds": [round(one, 5) for one in seconds],
        "median_s": round(median, 5),
        "images_per_s": round(job.batch / median, 3),
        "memory_gb": round(measured.memory / 1e9, 2),
        "kernels": measured.kernels,
    }
    if reference:
        ratios = [other / own for other, own in zip(reference, seconds, strict=True)]
        row["times_as_fast"] = {
            "median": round(statistics.median(ratios), 3),
            "quartiles": quartiles(ratios),
            "least": round(min(ratios), 3),
            "most": round(max(ratios), 3),
        }
    if peak:
        by = lower_bounds(*count(job), measured.kernels, precision, peak)
        row["lower_bounds_s"] = {name: round(least, 5) for name, least in by.items()}
        row["mfu"] = round(by["operations"] / median, 3)
    return row


def quartiles(values: list[float]) -> list[float]:
    """Return the first and the third quartile."""
    if len(values) < 2:
        return [round(values[0], 3)] * 2
    first, _, third = statistics.quantiles(values, method="inclusive")
    return [round(first, 3), round(third, 3)]


def cells(row: Row) -> dict[str, str]:
    """Return the cells of a variant in the table, by column."""
    seconds, fast = row["seconds"], row.get("times_as_fast")
    shown = {
        "s/step": f"{row['median_s']:.4f}",
        "min..max": f"{min(seconds):.4f}..{max(seconds):.4f}",
    }
    if fast:
        low, high = fast["quartiles"]
        shown |= {
            "speedup": f"{fast['median']:.2f}",
            "speedup: quartiles": f"{low:.2f}..{high:.2f}",
            "speedup: min..max": f"{fast['least']:.2f}..{fast['most']:.2f}",
        }
    shown |= {"images/s": f"{row['images_per_s']:.2f}", "GB": f"{row['memory_gb']:.2f}"}
    if "mfu" in row:
        shown["MFU"] = f"{row['mfu']:.1%}"
    lower_bounds_s = row.get("lower_bounds_s", {}).items()
    bounds = {f"bound: {name}": f"{least:.4f}" for name, least in lower_bounds_s}
    return shown | bounds


def print_table(title: str, rows: dict[str, Row]) -> None:
    """Print a table with a line per variant."""
    lines = {name: cells(row) for name, row in rows.items()}
    heads = list(dict.fromkeys(head for line in lines.values() for head in line))
    wide = {
        head: max(len(head), *(len(line.get(head, "")) for line in lines.values()))
        for head in heads
    }
    print(f"\n{title}")
    print(" " * 14, *(head.rjust(wide[head]) for head in heads), sep="  ")
    for name, line in lines.items():
        print(name.ljust(14), *(line.get(h, "").rjust(wide[h]) for h in heads), sep="  ")


def select_jobs(options: argparse.Namespace, base: Job) -> dict[str, Job]:
    """Return the jobs of the selected variants that the device supports."""
    jobs = {}
    for name, variant in VARIANTS.items():
        is_reference = name.startswith("reference")
        if name not in options.variants or (is_reference and not options.reference):
            continue
        if variant.on_gpu and not base.device.startswith("cuda"):
            continue
        jobs[name] = replace(
            base,
            kind="reference" if is_reference else "package",
            precision=variant.precision,
            speed=variant.speed,
            path=str(options.reference) if is_reference else "",
        )
    return jobs


def grow(base: Job, turns: int, peak: Row) -> dict[str, Row]:
    """Measure steps at other batch sizes, image sizes and widths, changed one at a time."""
    rows: dict[str, Row] = {}
    for name, values in GROWTH.items():
        for value in values:
            job = replace(base, kind="package", **{name: value})
            jobs = {
                f"{name} {value} {one}": replace(job, precision=one) for one in ("fp32", "bf16")
            }
            for title, measured in race(jobs, turns).items():
                row = summary(jobs[title], jobs[title].precision, measured, peak, [])
                rows[title] = {"gmac": round(count(job)[0] / 1e9, 2), **row}
    print_table(f"{base.method}: growth with batch, size and width", rows)
    return rows


def load(base: Job, data: Path, rows: dict[str, Row]) -> Row:
    """Return images/s of the loader, and the ratio to those of the fastest step."""
    worker = Worker(replace(base, kind="loader", path=str(data)))
    worker.prepare()
    number = worker.about["images"]
    first, *later = (number / worker.ask("turn") for _ in range(4))
    worker.end()
    fastest = max(rows, key=lambda name: rows[name]["images_per_s"])
    needed = rows[fastest]["images_per_s"]
    found = {
        **worker.about,
        "first_epoch_images_per_s": round(first, 1),
        "later_epochs_images_per_s": [round(one, 1) for one in later],
        "fastest": fastest,
        "times_the_fastest": round(statistics.median(later) / needed, 2),
        "first_times_the_fastest": round(first / needed, 2),
    }
    print(
        f"\nthe loader alone: {first:.0f} images/s in the first epoch, then "
        f"{statistics.median(later):.0f}: {found['first_times_the_fastest']} and "
        f"{found['times_the_fastest']} times those of {fastest}"
    )
    return found


def measure(options: argparse.Namespace, method: str) -> Row:
    """Measure a method with all options, and print the tables."""
    base = Job(
        "package",
        method,
        options.device,
        options.threads,
        options.size,
        options.batch,
        options.width,
        per_turn=options.per_turn,
    )
    macs, weights = count(base)
    if (options.size, options.batch, options.width) == (256, 1, 64):
        assert abs(macs / 1e9 - KNOWN[method]) < 0.01, f"{macs} MACs counted, not {KNOWN}"
    jobs = select_jobs(options, base)
    computed = {name: computed_in(name, options.device) for name in jobs}
    precisions = tuple(sorted({"fp32", "bf16", *computed.values()}))
    peaks = replace(base, kind="peaks", precisions=precisions)
    all_jobs = {**jobs, "peak": peaks} if options.peak else jobs
    measured = race(all_jobs, options.steps, options.limit)
    if not measured.keys() & jobs.keys():
        sys.exit("none of these variants can be measured on this device")
    of_machine = measured.pop("peak", Measurement({}, [], 0, None))
    peak = best(of_machine.turns)
    reference = measured["reference"].turns if "reference" in measured else []
    rows = {
        name: summary(jobs[name], computed[name], one, peak, reference)
        for name, one in measured.items()
    }
    title = f"{method}, {options.size} px, batch {options.batch}, {options.device}"
    for table in (SAME, BEST):
        shown = {name: row for name, row in rows.items() if table in VARIANTS[name].tables}
        print_table(f"{title}: {table}", shown)
    rates = {name: f"{rate:.3g}" for name, rate in peak.items()}
    if peak:
        print(f"peak rates, FLOP/s by precision and bytes/s: {rates}")
    results: Row = {
        **of_machine.about,
        "gmac": round(macs / 1e9, 2),
        "weights": weights,
        "peak_per_s": {name: float(rate) for name, rate in rates.items()},
        "variants": rows,
    }
    if options.grow:
        results["grow"] = grow(base, options.grow_steps, peak)
    if options.loader:
        try:
            results["loader"] = load(base, options.data, rows)
        except WorkerError as error:
            print(f"without the loader: {error}")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--method", nargs="+", default=list(KNOWN), choices=KNOWN)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--steps", type=int, default=8, help="turns of each variant")
    parser.add_argument(
        "--limit",
        type=float,
        default=float("inf"),
        help="time limit of a method in seconds; completed turns are reported",
    )
    parser.add_argument("--per_turn", type=int, default=0, help="steps per turn; 0: 1, on a GPU 10")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--peak",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure peak rates, for MFU and lower bounds",
    )
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--grow_steps", type=int, default=3)
    parser.add_argument("--loader", action="store_true", help="needs --data")
    parser.add_argument("--data", type=Path, help="a dataset, for --loader")
    options = parser.parse_args()
    if options.loader and options.data is None:
        parser.error("--loader needs --data, a dataset")
    on_gpu = options.device.startswith("cuda")
    options.per_turn = options.per_turn or (10 if on_gpu else 1)
    for method in options.method:
        results = {
            "date": date.today().isoformat(),
            "method": method,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "cuda": torch.version.cuda,
                "viceversa": viceversa.__version__,
            },
            "device": options.device,
            "size": options.size,
            "batch": options.batch,
            "width": options.width,
            "turns": options.steps,
            "steps_a_turn": options.per_turn,
            **measure(options, method),
        }
        suffix = f"-{torch.device(options.device).type}" if on_gpu else ""
        grown = "-growth" if options.grow else ""  # does not overwrite other results
        name = f"{date.today().isoformat()}-train-speed-{method}{suffix}{grown}.json"
        write_json(options.results / name, results)


if __name__ == "__main__":
    main()
