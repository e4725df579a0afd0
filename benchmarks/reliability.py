"""Run the reliability trials in large numbers: kill -9, system faults, bit rot, signals, hostile
files, and four faults at every point between the start and the exit of a run.

python benchmarks/reliability.py [--kills 1000] [--rot 1000] [--stops 200] [--mutants 1000000]
    [--minutes 8] [--only PART ...]
The trials are those of tests/checkpoint and tests/behaviour/reliability, each compared with a naive
implementation: a save without a temporary file, the format without a digest. Two processes mutate
files until the number of mutants or the time limit is reached. Writes
benchmarks/results/DATE-reliability.json; parts named by --only replace those in the file of the
same day.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import safetensors
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "checkpoint"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "behaviour" / "reliability"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "inference"))

import damaged_files
import fault_points
import faulty_saves
import hostile_weights as hostile
import killed_saves
import killed_translations
import mutated_weights
import stopped_runs
from short_runs import write_pairs
from support import Domain, fork, identical, noise_images, small_model

from viceversa.checkpoint import Checkpoints
from viceversa.files import write_json

PROCESSES = 2
Row = dict[str, Any]


def kill_saves(folder: Path, options: argparse.Namespace) -> Row:
    tally = killed_saves.count_losses(folder / "atomic", options.kills, seed=1)
    (folder / "naive").mkdir()
    naive = options.kills // 2
    return {
        "trials": options.kills,
        **tally,
        "naive_trials": naive,
        "naive_lost": killed_saves.count_naive_losses(folder / "naive", naive, seed=2),
    }


def kill_translations(folder: Path, options: argparse.Namespace) -> Row:
    noise_images(folder / "images", 30, size=(64, 64))
    model = small_model(folder, Domain(), Domain())
    kills = options.kills // 10
    return killed_translations.count_losses(model, folder / "images", folder, kills, seed=1)


def inject_faults(folder: Path, options: argparse.Namespace) -> Row:
    if shutil.which("gcc") is None:
        return {"left_out": "there is no gcc"}
    cases = [
        case
        for case in faulty_saves.sweep(faulty_saves.build_library(folder), folder)
        if case["kind"] != "none"
    ]
    atomic = [case for case in cases if case["saver"] != "naive"]
    naive = [case for case in cases if case["saver"] == "naive"]
    failed = [case for case in atomic if case["result"] not in ("", "ok")]
    return {
        "faults": len(atomic),
        "by_kind": dict(Counter(case["kind"] for case in atomic)),
        "neither_old_nor_new": sum(case["loaded"] not in (1, 2) for case in atomic),
        "false_success": sum(c["result"] == "ok" and c["loaded"] != 2 for c in atomic),
        "other_errors": sum(not case["result"].startswith("UserError: ") for case in failed),
        "naive_faults": len(naive),
        "naive_lost": sum(case["loaded"] is None for case in naive),
    }


def damage_files(folder: Path, options: argparse.Namespace) -> Row:
    rows: Row = {}
    for name, kind in {
        "state": damaged_files.DamagedCheckpoint,
        "model": damaged_files.DamagedModel,
        "format without digest": damaged_files.DamagedSafetensors,
    }.items():
        (folder / name).mkdir()
        file = kind(folder / name)
        content = file.content
        damages = {
            "flips": damaged_files.bit_flips(content, 10 * options.rot, 1),
            "pages": damaged_files.zeroed_pages(content, options.rot, 2),
            "cuts": damaged_files.truncations(content, options.rot, 3),
            "header_flips": damaged_files.header_flips(content),
        }
        rows[name] = {"bytes": len(content)}
        for damage, damaged in damages.items():
            rows[name][damage] = damaged_files.count_outcomes(file.outcome, damaged)
    return rows


def stop_by_signals(folder: Path, options: argparse.Namespace) -> Row:
    ended = stopped_runs.stop_runs(write_pairs(folder / "data"), folder, options.stops, seed=1)
    seconds = sorted(stop.seconds for stop in ended)
    return {
        "trials": len(ended),
        "by_code": dict(Counter(str(stop.code) for stop in ended)),
        "not_durable": sum(not stop.durable for stop in ended),
        "steps": [min(stop.reported for stop in ended), max(stop.reported for stop in ended)],
        "seconds": {
            "median": round(seconds[len(seconds) // 2], 3),
            "p99": round(seconds[int(0.99 * (len(seconds) - 1))], 3),
            "most": round(seconds[-1], 3),
        },
    }


def read_hostile_files(folder: Path, options: argparse.Namespace) -> Row:
    readers, marker = hostile.Readers(), folder / "executed"
    content = hostile.pickles(f"touch {marker}")
    files: dict[str, Callable[[Path], object]] = hostile.BOMBS | hostile.INVALID_HEADERS
    files |= {name: hostile.content(pickled) for name, pickled in content.items()}
    endings: Counter[str] = Counter()
    other: Row = {}
    most_seconds, most_growth = 0.0, 0
    for number, (name, make) in enumerate(files.items()):
        checkpoints = Checkpoints(folder / str(number), 3)
        checkpoints.save({"images": 1}, 1)
        make(checkpoints.folder / "0000000002.safetensors")
        for reader, result in hostile.try_readers(
            checkpoints.folder / "0000000002.safetensors", readers
        ).items():
            ended, seconds, growth = result
            most_seconds, most_growth = max(most_seconds, seconds), max(most_growth, growth)
            endings[ended if ended in ("refused", "done") else "other"] += 1
            if ended not in ("refused", "done"):
                other[f"{name}, {reader}"] = ended.replace(str(folder), "")
        shutil.rmtree(checkpoints.folder)
    return {
        "files": len(files),
        "pickles": len(content),
        "executed": int(marker.exists()),
        "by_end": dict(endings),
        "other_errors": other,
        "most_seconds": round(most_seconds, 2),
        "most_growth_mb": round(most_growth / 1e6),
    }


def mutate_files(folder: Path, options: argparse.Namespace) -> Row:
    """Use a third of the mutants and of the time for complete translators."""

    def work(pipe: int, seed: int) -> None:
        fuzz = mutated_weights.Fuzz(folder, seed)
        count, seconds = options.mutants // PROCESSES, 60 * options.minutes
        ended = {
            "files": fuzz.run(
                fuzz.file, mutated_weights.ALL_KINDS, count * 2 // 3, seconds * 2 / 3
            ),
            "translators": fuzz.run(
                fuzz.translator, mutated_weights.MODEL_KINDS, count // 3, seconds / 3
            ),
        }
        os.write(pipe, json.dumps(ended).encode()[:60_000])

    children = [fork(lambda pipe, seed=seed: work(pipe, seed)) for seed in range(PROCESSES)]
    totals: dict[str, Counter[str]] = {"files": Counter(), "translators": Counter()}
    for child in children:
        assert child.wait(60 * options.minutes + 120) == 0
        for name, ended in json.loads(child.output()).items():
            totals[name].update(ended)
    rows: Row = {
        "mutants": sum(total.total() for total in totals.values()),
        "minutes": options.minutes,
    }
    for name, total in totals.items():
        other = mutated_weights.unexpected_errors(total)
        rows[name] = {
            "mutants": total.total(),
            "refused": total["refused"],
            "read": total["read"],
            "other_errors": sum(other.values()),
            "of_these": dict(Counter(other).most_common(20)),
        }
    return rows


def fault_every_point(folder: Path, options: argparse.Namespace) -> Row:
    """Inject every fault into every call of every fault point between start and exit."""
    data = fault_points.write_splits(folder / "data")
    calls = fault_points.count_calls(data, folder / "run")
    content, wrong, trials = fault_points.results(folder / "run"), {}, 0
    faults = [fault for fault in fault_points.FAULTS if fault != "ENOSPC"]
    with fault_points.small_disk(folder / "disk") as small:
        for name, count in calls.items():
            for call in range(1, count + 1):
                for fault in [*faults, "ENOSPC"]:
                    run = (small if fault == "ENOSPC" else folder) / "trial"
                    ended = fault_points.run_with_fault(data, run, name, call, fault)
                    found = fault_points.problems_of(ended, name, fault)
                    fault_points.repeat(data, run)
                    left = fault_points.results(run)
                    found += [
                        f"{part} differs"
                        for part in left
                        if not identical(left[part], content[part])
                    ]
                    trials += 1
                    if found:
                        wrong[f"{name}, call {call}, {fault}"] = found
                    shutil.rmtree(run)
    return {"trials": trials, "calls": calls, "wrong": wrong}


PARTS: dict[str, Callable[[Path, argparse.Namespace], Row]] = {
    "kill_9": kill_saves,
    "killed_translations": kill_translations,
    "faults": inject_faults,
    "rot": damage_files,
    "signals": stop_by_signals,
    "fault_points": fault_every_point,
    "hostile_files": read_hostile_files,
    "mutants": mutate_files,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument(
        "--rot",
        type=int,
        default=1000,
        help="zeroed pages and truncations; ten times as many bit flips",
    )
    parser.add_argument("--stops", type=int, default=200)
    parser.add_argument("--mutants", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=8.0, help="time limit of the mutants")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: Row = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "safetensors": safetensors.__version__,
    }
    for name in options.only:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            results[name] = PARTS[name](Path(folder), options)
        results[name]["took_s"] = round(time.monotonic() - began)
        print(f"{name}: {json.dumps(results[name])}", flush=True)
    path = Path(__file__).parent / "results" / f"{date.today().isoformat()}-reliability.json"
    if path.exists() and options.only != list(PARTS):
        results = json.loads(path.read_text()) | results
    write_json(path, results)


if __name__ == "__main__":
    main()
