"""Saves in which the n-th system call fails, for every n (as SQLite is tested).

As a script, with LD_PRELOAD of faults.c: every fault of every saver, as lines of JSON.
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
    """Return a state of three tensors that contain the number."""
    return {name: torch.full((20_000,), float(number)) for name in "abc"}


def save_checkpoint(folder: Path, number: int) -> Path:
    return Checkpoints(folder, 1).save(contents(number), number)


def saved_checkpoint(folder: Path) -> int | None:
    checkpoints = Checkpoints(folder, 1)
    try:
        found = checkpoints.latest(lambda text: None)
    except UserError:
        return None
    return None if found is None else int(found[0]["a"][0])


def save_model(folder: Path, number: int) -> Path:
    save_network(folder / "ab.safetensors", contents(number), {"kind": "translator"})
    return folder / "ab.safetensors"


def saved_model(folder: Path) -> int | None:
    try:
        return int(read_weights(folder / "ab.safetensors")["a"][0])
    except UserError:
        return None


def save_naively(folder: Path, number: int) -> Path:
    path = folder / "latest.safetensors"
    path.write_bytes((folder.parent / f"complete-{number}").read_bytes())
    return path


def naively_saved(folder: Path) -> int | None:
    try:
        return int(load_state(folder / "latest.safetensors")["a"][0])
    except UserError:
        return None


# name -> (save a number to a folder; load the number from it, None if unreadable)
SAVERS: dict[str, tuple[Callable[[Path, int], Path], Callable[[Path], int | None]]] = {
    "checkpoint": (save_checkpoint, saved_checkpoint),
    "model": (save_model, saved_model),
    "naive": (save_naively, naively_saved),
}


def build_library(folder: Path) -> Path:
    """Compile faults.c to a shared library. Raises CalledProcessError if gcc fails."""
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


def sweep(library: Path, folder: Path) -> list[Case]:
    """Return the results of every fault of every saver. One process forks a child for each."""
    environment = os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, __file__, str(library), str(folder)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def save_with_fault(
    library: Any, saver: str, folder: Path, number: int, kind: int, permanent: bool
) -> Case:
    """Save 2 over 1 with one fault and return the result."""
    save, load_number = SAVERS[saver]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(folder.with_name(f"{saver}-before"), folder)

    def work(pipe: int) -> None:
        library.arm(os.fsencode(folder), number, kind, int(permanent))
        try:
            save(folder, 2)
            result = "ok"
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
        library.disarm()
        calls = library.calls().decode()
        os.write(pipe, json.dumps([result, library.times_fired(), calls]).encode())

    child = fork(work)
    status = child.wait(20)
    output = child.output()
    result, fault_count, calls = json.loads(output) if output else ("", 1, "")
    temporary = sorted(path.name for path in folder.iterdir() if path.suffix == ".tmp")
    found = load_number(folder)
    Checkpoints(folder, 1).clean()
    remaining = [path.name for path in folder.iterdir() if path.suffix != ".safetensors"]
    return {
        "saver": saver,
        "number": number,
        "permanent": permanent,
        "status": status,
        "result": result,
        "fault_count": fault_count,
        "calls": calls,
        "loaded": found,
        "temporary": temporary,
        "remaining": remaining,
        "folder": str(folder),
    }


def main() -> None:
    torch.set_num_threads(1)
    library, folder = ctypes.CDLL(sys.argv[1]), Path(sys.argv[2])
    library.times_fired.restype, library.calls.restype = ctypes.c_long, ctypes.c_char_p
    library.arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    for number in (1, 2):  # files that the naive saver writes
        save_checkpoint(folder / "saved", number).replace(folder / f"complete-{number}")
    for saver in SAVERS:
        (folder / f"{saver}-before").mkdir()
        SAVERS[saver][0](folder / f"{saver}-before", 1)
        print(
            json.dumps(
                save_with_fault(library, saver, folder / saver, -1, 0, False) | {"kind": "none"}
            )
        )
        for kind, permanent in itertools.product(KINDS, (False, True)):
            for number in itertools.count():
                case = save_with_fault(
                    library, saver, folder / saver, number, KINDS[kind], permanent
                )
                if number >= 200:
                    raise RuntimeError(f"no end of faults: {case}")
                # Only writes can be short; other calls succeed, and are counted.
                if not case["fault_count"] and (kind != "SHORT" or number >= len(case["calls"])):
                    break
                if case["fault_count"]:
                    print(json.dumps(case | {"kind": kind}), flush=True)


if __name__ == "__main__":
    main()
