"""How long a training step takes, beside the reference implementation's in the same run.

python benchmarks/train_speed.py [--reference PATH] [--method pix2pix cyclegan] [--steps 8]
    [--device cuda] [--size 256] [--batch 1] [--width 64] [--threads N] [--ways fp32 bf16]
    [--grow] [--loader --data PATH]
PATH is a checkout of junyanz/pytorch-CycleGAN-and-pix2pix; without it ours is timed alone. Same
networks, same shapes, made images. Each way runs in a process of its own: ours with the settings
that our command makes for its process, the reference with none, as its users run it. They are asked
for one step in turn (ten on a GPU), and only one computes at a time, so that a noisy machine treats
all alike; ratios are those of the same turn. `plain` is ours with every option of `speed` off.

MFU is the share of the machine's multiplications that a step uses: the floor by operations over the
median. A floor is what a step takes at the least if nothing else counted:
- operations: multiplications and additions of all convolutions of a step, forward and backward, as
  torch's counter counts them, at the measured rate of a large square product of matrices in the
  same precision with the same threads;
- bytes: 40 for each trained weight, whatever the precision, at the measured rate of copying: read
  forward and backward, its gradient written and read, it and two moments of Adam read and written
  (10 numbers of 4 bytes). Activations are not counted, nor that a network which is called several
  times reads its weights as often;
- launches (a GPU without a graph): the kernels of a step, each as long as launching an empty one.
Memory is the most a process held at once, Python and torch included; on a GPU, of its memory.

--grow: how our step grows with batch, size and width. --loader: images/s as training loads them,
the first epoch and later ones, beside the fastest step of the run.
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
from train_ways import BEST, SAME, WAYS, computed_in, count
from train_worker import Taken, Worker, WorkerError, race

import viceversa
from viceversa.files import write_json

Row = dict[str, Any]

BYTES = 40  # of a weight in a step: see above
KNOWN = {"pix2pix": 43.47, "cyclegan": 939.61}  # 10^9 MACs at 256 px, batch 1 and width 64
GROWN = {"batch": (1, 2, 4, 8), "size": (128, 256, 512), "width": (16, 32, 64)}


def floors(macs: int, weights: int, kernels: int | None, precision: str, peak: Row) -> Row:
    """The least seconds of a step by operations, by bytes and by launches, each for itself."""
    by: Row = {"operations": 2 * macs / peak[precision], "bytes": BYTES * weights / peak["bytes"]}
    if kernels:
        by["launches"] = kernels * peak["launch_s"]
    return by


def summary(job: Job, precision: str, taken: Taken, peak: Row, reference: list[float]) -> Row:
    """A way's seconds a step, its ratio to the reference in each turn, and how far from a floor."""
    seconds = taken.turns
    median = statistics.median(seconds)
    row: Row = {
        **taken.about,
        "multiplies_in": precision,
        "seconds": [round(one, 5) for one in seconds],
        "median_s": round(median, 5),
        "images_per_s": round(job.batch / median, 3),
        "memory_gb": round(taken.memory / 1e9, 2),
        "kernels": taken.kernels,
    }
    if reference:
        ratios = [them / us for them, us in zip(reference, seconds, strict=True)]
        row["times_as_fast"] = {
            "median": round(statistics.median(ratios), 3),
            "quartiles": quartiles(ratios),
            "least": round(min(ratios), 3),
            "most": round(max(ratios), 3),
        }
    if peak:
        by = floors(*count(job), taken.kernels, precision, peak)
        row["floors_s"] = {name: round(least, 5) for name, least in by.items()}
        row["mfu"] = round(by["operations"] / median, 3)
    return row


def quartiles(values: list[float]) -> list[float]:
    """The first and the third."""
    if len(values) < 2:
        return [round(values[0], 3)] * 2
    first, _, third = statistics.quantiles(values, method="inclusive")
    return [round(first, 3), round(third, 3)]


def cells(row: Row) -> dict[str, str]:
    """A way's figures as a table shows them."""
    seconds, fast = row["seconds"], row.get("times_as_fast")
    shown = {
        "s a step": f"{row['median_s']:.4f}",
        "least..most": f"{min(seconds):.4f}..{max(seconds):.4f}",
    }
    if fast:
        low, high = fast["quartiles"]
        shown |= {
            "times as fast": f"{fast['median']:.2f}",
            "fast: quartiles": f"{low:.2f}..{high:.2f}",
            "fast: least..most": f"{fast['least']:.2f}..{fast['most']:.2f}",
        }
    shown |= {"images/s": f"{row['images_per_s']:.2f}", "GB": f"{row['memory_gb']:.2f}"}
    if "mfu" in row:
        shown["MFU"] = f"{row['mfu']:.1%}"
    floor = {f"floor: {name}": f"{least:.4f}" for name, least in row.get("floors_s", {}).items()}
    return shown | floor


def print_table(title: str, rows: dict[str, Row]) -> None:
    """A line for each way, beneath the names of its columns."""
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


def ways(options: argparse.Namespace, base: Job) -> dict[str, Job]:
    """The jobs that were asked for and can be done on the device."""
    jobs = {}
    for name, way in WAYS.items():
        theirs = name.startswith("reference")
        if name not in options.ways or (theirs and not options.reference):
            continue
        if way.on_gpu and not base.device.startswith("cuda"):
            continue
        jobs[name] = replace(
            base,
            kind="reference" if theirs else "ours",
            precision=way.precision,
            speed=way.speed,
            path=str(options.reference) if theirs else "",
        )
    return jobs


def grow(base: Job, turns: int, peak: Row) -> dict[str, Row]:
    """Our step at other batches, sizes and widths, one of them changed at a time."""
    rows: dict[str, Row] = {}
    for name, values in GROWN.items():
        for value in values:
            job = replace(base, kind="ours", **{name: value})
            jobs = {
                f"{name} {value} {one}": replace(job, precision=one) for one in ("fp32", "bf16")
            }
            for title, taken in race(jobs, turns).items():
                row = summary(jobs[title], jobs[title].precision, taken, peak, [])
                rows[title] = {"gmac": round(count(job)[0] / 1e9, 2), **row}
    print_table(f"{base.method}: as batch, size and width grow", rows)
    return rows


def load(base: Job, data: Path, rows: dict[str, Row]) -> Row:
    """Images/s of the loader, and how many times those of the fastest step."""
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
    """All that is asked for of a method, printed on the way."""
    base = Job(
        "ours",
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
        assert abs(macs / 1e9 - KNOWN[method]) < 0.01, f"{macs} MACs are counted, not {KNOWN}"
    jobs = ways(options, base)
    computed = {name: computed_in(name, options.device) for name in jobs}
    precisions = tuple(sorted({"fp32", "bf16", *computed.values()}))
    peaks = replace(base, kind="peaks", precisions=precisions)
    every = {**jobs, "peak": peaks} if options.peak else jobs
    taken = race(every, options.steps, options.limit)
    if not taken.keys() & jobs.keys():
        sys.exit("none of these ways can be measured here")
    of_machine = taken.pop("peak", Taken({}, [], 0, None))
    peak = best(of_machine.turns)
    reference = taken["reference"].turns if "reference" in taken else []
    rows = {
        name: summary(jobs[name], computed[name], one, peak, reference)
        for name, one in taken.items()
    }
    title = f"{method}, {options.size} px, batch {options.batch}, {options.device}"
    for table in (SAME, BEST):
        shown = {name: row for name, row in rows.items() if table in WAYS[name].tables}
        print_table(f"{title}: {table}", shown)
    told = {name: f"{rate:.3g}" for name, rate in peak.items()}
    if peak:
        print(f"the machine's peak: FLOP/s by precision, bytes/s: {told}")
    results: Row = {
        **of_machine.about,
        "gmac": round(macs / 1e9, 2),
        "weights": weights,
        "peak_per_s": {name: float(rate) for name, rate in told.items()},
        "ways": rows,
    }
    if options.grow:
        results["grow"] = grow(base, options.grow_steps, peak)
    if options.loader:
        try:
            results["loader"] = load(base, options.data, rows)
        except WorkerError as error:
            print(f"the loader is left out: {error}")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--method", nargs="+", default=list(KNOWN), choices=KNOWN)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--steps", type=int, default=8, help="turns of each way")
    parser.add_argument(
        "--limit",
        type=float,
        default=float("inf"),
        help="seconds for a method; then it reports what there is",
    )
    parser.add_argument("--per_turn", type=int, default=0, help="steps of a turn; 0: 1, a GPU 10")
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
        help="measure the machine's peak, for MFU and floors",
    )
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--grow_steps", type=int, default=3)
    parser.add_argument("--loader", action="store_true", help="needs --data")
    parser.add_argument("--data", type=Path, help="a data set, for --loader")
    options = parser.parse_args()
    if options.loader and options.data is None:
        parser.error("--loader needs --data, a data set to load")
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
        grown = "-growth" if options.grow else ""  # so that it takes no other run's place
        name = f"{date.today().isoformat()}-train-speed-{method}{suffix}{grown}.json"
        write_json(options.results / name, results)


if __name__ == "__main__":
    main()
