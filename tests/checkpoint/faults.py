"""Saves whose n-th call to the system fails, for every n there is (as SQLite is tested).

As a script, under LD_PRELOAD of faults.c: every fault of a way to save, as lines of JSON.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from support import fork

from viceversa.checkpoint import Checkpoints, load_state, read_weights, save_network
from viceversa.errors import UserError

KINDS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EDQUOT": errno.EDQUOT, "KILL": -1, "SHORT": -2}
Case = dict[str, Any]


def contents(number: int) -> dict[str, Any]:
    """A state of three tensors, that says which it is."""
    return {name: torch.full((20_000,), float(number)) for name in "abc"}


def checkpoint(folder: Path, number: int) -> Path:
    return Checkpoints(folder, 1).save(contents(number), number)


def checkpoint_there(folder: Path) -> int | None:
    checkpoints = Checkpoints(folder, 1)
    try:
        found = checkpoints.latest(lambda text: None)
    except UserError:
        return None
    return None if found is None else int(found[0]["a"][0])


def model(folder: Path, number: int) -> Path:
    save_network(folder / "ab.safetensors", contents(number), {"kind": "translator"})
    return folder / "ab.safetensors"


def model_there(folder: Path) -> int | None:
    try:
        return int(read_weights(folder / "ab.safetensors")["a"][0])
    except UserError:
        return None


def naive(folder: Path, number: int) -> Path:
    path = folder / "latest.safetensors"
    path.write_bytes((folder.parent / f"whole-{number}").read_bytes())
    return path


def naive_there(folder: Path) -> int | None:
    try:
        return int(load_state(folder / "latest.safetensors")["a"][0])
    except UserError:
        return None


# name -> (save a number in a folder, the number that is there or None)
WAYS: dict[str, tuple[Callable[[Path, int], Path], Callable[[Path], int | None]]] = {
    "checkpoint": (checkpoint, checkpoint_there),
    "model": (model, model_there),
    "naive": (naive, naive_there),
}


def built(folder: Path) -> Path:
    """faults.c as a library. Raises CalledProcessError where gcc refuses it."""
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


def sweep(library: Path, folder: Path) -> list[Case]:
    """Every fault of every way to save. One process loads torch and forks a victim for each."""
    environment = os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, __file__, str(library), str(folder)], env=environment, check=True,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def one(library: Any, way: str, folder: Path, number: int, kind: int, for_good: bool) -> Case:
    """Save 2 where 1 is, with one fault."""
    save, there = WAYS[way]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(folder.with_name(f"{way}-before"), folder)

    def work(pipe: int) -> None:
        library.arm(os.fsencode(folder), number, kind, int(for_good))
        try:
            save(folder, 2)
            said = "ok"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        library.disarm()
        calls = library.calls().decode()
        os.write(pipe, json.dumps([said, library.times_fired(), calls]).encode())

    child = fork(work)
    status = child.wait(20)
    told = child.output()
    said, fired, calls = json.loads(told) if told else ("", 1, "")
    left = sorted(path.name for path in folder.iterdir() if path.suffix == ".tmp")
    found = there(folder)
    Checkpoints(folder, 1).clean()
    cleaned = [path.name for path in folder.iterdir() if path.suffix != ".safetensors"]
    return {
        "way": way, "number": number, "for_good": for_good, "status": status, "said": said,
        "fired": fired, "calls": calls, "there": found, "left": left, "cleaned": cleaned,
        "folder": str(folder),
    }  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    library, folder = ctypes.CDLL(sys.argv[1]), Path(sys.argv[2])
    library.times_fired.restype, library.calls.restype = ctypes.c_long, ctypes.c_char_p
    library.arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    for number in (1, 2):  # what the naive way writes
        checkpoint(folder / "made", number).replace(folder / f"whole-{number}")
    for way in WAYS:
        (folder / f"{way}-before").mkdir()
        WAYS[way][0](folder / f"{way}-before", 1)
        print(json.dumps(one(library, way, folder / way, -1, 0, False) | {"kind": "none"}))
        for kind, for_good in itertools.product(KINDS, (False, True)):
            for number in itertools.count():
                case = one(library, way, folder / way, number, KINDS[kind], for_good)
                if number >= 200:
                    raise RuntimeError(f"no end of faults: {case}")
                # A short write is a fault of writes alone: other calls go through, and count.
                if not case["fired"] and (kind != "SHORT" or number >= len(case["calls"])):
                    break
                if case["fired"]:
                    print(json.dumps(case | {"kind": kind}), flush=True)


if __name__ == "__main__":
    main()
