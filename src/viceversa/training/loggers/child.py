"""Process of a logger: reads log entries from standard input. Imports no torch."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from ...files import write_json
from ...run_log import Entry

HANG = 300.0  # seconds after which a call of a package is taken to hang


class About(NamedTuple):
    """The run that is logged."""

    folder: str
    settings: dict[str, Any]
    done: int
    """Images processed before; 0 in a new run."""

    @property
    def name(self) -> str:
        """Name of the run."""
        return Path(self.folder).name


class RunLogger(Protocol):
    """Interface of TensorBoard, Weights & Biases and MLflow. Any exception ends the logger."""

    address: str
    """Where the user finds the run, for a message."""

    def log(self, entry: Entry) -> None:
        """Log the numbers of an entry of the log."""

    def image(self, kind: str, images: int, path: str) -> None:
        """Log a PNG file: a grid of `samples` or `patch_maps` after so many images."""

    def close(self) -> None:
        """Finish."""


def main(name: str) -> None:
    """Run the logger of this name."""
    serve(lambda about: _logger(name, about))


def _logger(name: str, about: About) -> RunLogger:
    """Import the package of a logger, and make the logger."""
    if name == "tensorboard":
        from .tensorboard_logger import TensorBoardLogger

        return TensorBoardLogger(about)
    if name == "wandb":
        from .wandb_logger import WandbLogger

        return WandbLogger(about)
    from .mlflow_logger import MlflowLogger

    return MlflowLogger(about)


def serve(make: Callable[[About], RunLogger]) -> None:
    """Make a logger, and give it what standard input contains, a JSON value per line."""
    # The run ends this process, also after Ctrl-C or a SIGTERM that both receive.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    source, answers = _take_streams()
    with source, answers, open(os.devnull, "w") as nowhere:

        def answer(**values: str) -> None:
            with suppress(BrokenPipeError):  # the run was killed
                answers.write(json.dumps(values).encode() + b"\n")
                answers.flush()

        @contextmanager
        def limited() -> Iterator[None]:
            """End the process if a call hangs: the run that would end it may have been killed."""
            faulthandler.dump_traceback_later(HANG, exit=True, file=nowhere)
            yield
            faulthandler.cancel_dump_traceback_later()

        try:
            with limited():
                logger = make(About(**json.loads(source.readline())))
            answer(opened=logger.address)
            for line in source:
                message = json.loads(line)
                with limited():
                    if "entry" in message:
                        logger.log(message["entry"])
                    else:
                        logger.image(*message["image"])
            with limited():
                logger.close()
            answer(closed="")
        except Exception as error:
            answer(error=" ".join(f"{type(error).__name__}: {error}".split())[:500])


def _take_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Return standard input and output, and replace them by the null device.

    What a package prints, and processes that it starts, do not reach the run.
    """
    source, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    os.close(null)
    return source, answers


def scalars(entry: Entry) -> dict[str, float]:
    """Return the numbers of an entry with tags such as `loss/g_l1`; no texts, no null."""
    if entry["kind"] == "diagnostic":
        return {}
    return {
        name.replace(".", "/", 1): value
        for name, value in entry.items()
        if isinstance(value, int | float) and name not in ("time", "images", "n")
    }


def saved_id(about: About, name: str) -> str | None:
    """Return the ID of the W&B or MLflow run that a resumed run continues; None in a new run."""
    try:
        found = json.loads(_id_file(about, name).read_text())["id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found) if about.done else None


def save_id(about: About, name: str, run_id: str) -> None:
    """Save the ID for `saved_id`."""
    write_json(_id_file(about, name), {"id": run_id})


def _id_file(about: About, name: str) -> Path:
    return Path(about.folder) / f"{name}.json"


def flat_settings(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return settings by names such as `train.lr`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= flat_settings(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found
