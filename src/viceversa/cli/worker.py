"""Process of one run of a study: train it, evaluate it, and mark it as finished.

`viceversa study` starts it with a task as JSON. If the study's process ends, the run saves and
stops.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from threading import Thread
from typing import Any

from ..environment import keep_freed_memory
from ..files import write_json
from . import main


def work(task: str) -> None:
    """Run a task in a separate process."""
    Thread(target=_stop_with_parent, daemon=True).start()
    keep_freed_memory()
    train_and_evaluate(json.loads(task))


def train_and_evaluate(values: dict[str, Any]) -> None:
    """Train and evaluate a run with the ordinary commands, and mark it as finished."""
    main(values["train"])
    run = Path(values["run"])
    best = any((run / "best").glob("[ab][ab].safetensors"))
    model = run / "best" if best else run
    out = ["-o", str(run / "evaluation")]
    main(["evaluate", str(model), *out, *values["evaluate"], *values["imports"]])
    write_json(Path(values["marker"]), {**values["about"], "model": "best" if best else "last"})


def _stop_with_parent() -> None:
    """Wait until the pipe from the study's process is closed, then stop as by SIGTERM."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    work(sys.argv[1])
