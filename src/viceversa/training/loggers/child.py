"""Process of a logger: reads log entries from standard input. Imports no torch."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from ...environment import disable_usage_reports
from .base import About, RunLogger

HANG = 300.0  # seconds after which a call of a package is taken to hang


def main(name: str) -> None:
    """Run the logger of this name."""
    disable_usage_reports()
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
