"""TensorBoard, Weights & Biases and MLflow, each in its own process: none can stop a run."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from .background import BackgroundLogger

TITLES = {"tensorboard": "TensorBoard", "wandb": "Weights & Biases", "mlflow": "MLflow"}
# The path of modules is that of this process, which may have been extended by user code.
CODE = (
    "import json, sys; sys.path = json.loads(sys.argv[1]); "
    "from viceversa.training.loggers.child import main; main(sys.argv[2])"
)


def refuse_missing(names: Sequence[str]) -> None:
    """Raise UserError if the package of a logger is not installed; nothing is imported."""
    for name in names:
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise UserError(
                f"train.loggers needs the package {name}; install it with "
                f"pip install 'viceversa[{name}]'",
                option="train.loggers",
            )


def open_loggers(
    names: Sequence[str],
    folder: Path,
    settings: Mapping[str, Any],
    done: int,
    report: Callable[[str], None],
) -> list[BackgroundLogger]:
    """Start the loggers of a run.

    Args:
        names: Values of `train.loggers`.
        folder: The run folder.
        settings: The settings of the run, which are logged as parameters.
        done: Images processed before; a resumed run continues the same W&B and MLflow run.
        report: Function that reports a message.
    """
    about = {"folder": str(folder.absolute()), "settings": settings, "done": done}
    return [
        BackgroundLogger(
            TITLES[name], [sys.executable, "-c", CODE, json.dumps(sys.path), name], about, report
        )
        for name in dict.fromkeys(names)
    ]
