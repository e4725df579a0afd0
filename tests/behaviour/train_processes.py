"""Train in several processes, which are killed at the end.

Each process runs this file as a script, `train_processes.py SETTINGS.json`, with the sections for
`resolve` and a section `test`: {"float64", "alone", "stop"}.
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

TIMEOUT = 300.0  # seconds; for slow or busy machines


def free_port() -> int:
    with socket.socket() as socket_:
        socket_.bind(("127.0.0.1", 0))
        return int(socket_.getsockname()[1])


@contextmanager
def start_processes(
    count: int, arguments: list[str], folder: Path
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start `count` processes `python arguments...` with their output in FOLDER/RANK.txt."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    processes = []
    for rank in range(count):
        distributed = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        environment = os.environ | (distributed if count > 1 else {}) | {"OMP_NUM_THREADS": "1"}
        with (folder / f"{rank}.txt").open("w") as out:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *arguments], env=environment, text=True, stdout=out, stderr=out
                )
            )
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for_output(
    processes: list[subprocess.Popen[str]], folder: Path, timeout: float = TIMEOUT
) -> str:
    """Wait for all processes and return their output. Raises TimeoutExpired after `timeout` s."""
    deadline = time.monotonic() + timeout
    for process in processes:
        process.wait(max(0.1, deadline - time.monotonic()))
    return output_of(folder)


def output_of(folder: Path) -> str:
    """Return what the processes have written so far."""
    return "".join(path.read_text() for path in sorted(folder.glob("*.txt")))


def train_in_this_process(settings: dict[str, Any]) -> None:
    """Train in this process, in float64."""
    import torch

    from viceversa.config.run import resolve
    from viceversa.training.loop import train

    torch.set_default_dtype(torch.float64)
    try:
        train(resolve(settings))
    finally:
        torch.set_default_dtype(torch.float32)


def train_in_processes(
    count: int, settings: dict[str, Any], folder: Path, code: int = 0, **test: Any
) -> str:
    """Train in `count` processes, which exit with `code`, and return their output."""
    path = folder / "settings.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings | {"test": test}))
    with start_processes(count, [__file__, str(path)], folder / "output") as processes:
        text = wait_for_output(processes, folder / "output")
        assert [process.returncode for process in processes] == [code] * count, text
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
    if test.get("alone"):  # the control: no gradients are reduced
        Ranks.all_reduce = lambda self, tensors: None  # type: ignore[method-assign]
    stop = test.get("stop", {"processes": []})
    if int(os.environ.get("RANK", "0")) in stop["processes"]:
        sys.path.append(str(Path(__file__).parents[1]))
        import pytest
        from support import sigterm_after

        sigterm_after(pytest.MonkeyPatch())(stop["images"])
    code = 0
    try:
        train(resolve(settings))
    except RunStopped as stopped:
        code = stopped.code
    sys.stdout.flush()
    os._exit(code)  # as the command does: threads of torch may abort an exiting process


if __name__ == "__main__":
    main()
