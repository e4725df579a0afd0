"""Starts a script in several processes that train together, and sees to it that none is left.

As a script, it is what they run: `several.py SETTINGS.json`, settings as `resolve` takes them, with
`test` beside the sections: {"float64", "alone", "steps"}.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 300.0  # seconds; leaves room for a machine that is slow or busy


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def started(count: int, words: list[str], folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """`python words...` in so many processes; what they write goes to FOLDER/NUMBER.txt."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    processes = []
    for rank in range(count):
        several = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
        environment = os.environ | (several if count > 1 else {}) | {"OMP_NUM_THREADS": "1"}
        with (folder / f"{rank}.txt").open("w") as out:
            processes.append(subprocess.Popen(
                [sys.executable, *words], env=environment, text=True, stdout=out, stderr=out
            ))  # fmt: skip
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def ended(processes: list[subprocess.Popen[str]], folder: Path, within: float = PATIENCE) -> str:
    """Waits for all of them, and returns what they wrote. Fails where one is not over in time."""
    ends = time.monotonic() + within
    for process in processes:
        process.wait(max(0.1, ends - time.monotonic()))
    return said(folder)


def said(folder: Path) -> str:
    """What the processes have written so far."""
    return "".join(path.read_text() for path in sorted(folder.glob("*.txt")))


def trained_here(settings: dict[str, Any]) -> None:
    """Train in this process, in float64."""
    import torch

    from viceversa.config.run import resolve
    from viceversa.training.loop import train

    torch.set_default_dtype(torch.float64)
    try:
        train(resolve(settings))
    finally:
        torch.set_default_dtype(torch.float32)


def trained(count: int, settings: dict[str, Any], folder: Path, **test: Any) -> str:
    """Train in `count` processes with these settings and return their output."""
    path = folder / "settings.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings | {"test": test}))
    with started(count, [__file__, str(path)], folder / "said") as processes:
        text = ended(processes, folder / "said")
        assert [process.returncode for process in processes] == [0] * count, text
    return text


def main() -> None:
    import torch

    from viceversa.config.run import resolve
    from viceversa.errors import RunStopped
    from viceversa.runtime.distributed import Ranks
    from viceversa.training.loop import train

    torch.set_num_threads(1)
    settings = json.loads(Path(sys.argv[1]).read_text())
    test = settings.pop("test")
    if test.get("float64"):
        torch.set_default_dtype(torch.float64)
    if test.get("alone"):  # the control: every process goes its own way
        Ranks.all_reduce = lambda self, tensors: None  # type: ignore[method-assign]
    code = 0
    try:
        train(resolve(settings))
    except RunStopped as stopped:
        code = stopped.code
    sys.stdout.flush()
    os._exit(code)  # as the command does: torch's threads may abort a process on its way out


if __name__ == "__main__":
    main()
