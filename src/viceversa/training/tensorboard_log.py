"""Log a run for TensorBoard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..run_log import group


class TensorBoardLog:
    """Scalars and images of a run for TensorBoard, by images processed.

    An error while writing never ends a run: the first one is reported, then nothing is written.
    """

    def __init__(self, folder: Path, done: int = 0, say: Callable[[str], None] = lambda text: None):
        """Open a new file of events.

        Args:
            folder: The folder of the files of events.
            done: Images processed before; entries of later steps in earlier files are dropped.
            say: Function that reports a message.

        Raises:
            UserError: TensorBoard is not installed.
        """
        writer = summary_writer()
        self.folder, self._say = folder, say
        self._writer: Any = None
        self._print_error = threading.excepthook
        threading.excepthook = self._hook = self._print_other_errors
        with self._errors_reported():
            # A run that starts again draws the sample grid before its first step again.
            self._writer = writer(str(folder), purge_step=done + 1 if done else 0)

    def line(self, entry: Mapping[str, Any]) -> None:
        """Write the numbers of a log entry, with tags such as `losses/g_l1`; None is left out."""
        groups: dict[str, Mapping[str, float | None]] = {
            "losses": group(entry, "loss"),
            "gradients": group(entry, "grad_norm"),
            "validation": group(entry, "val"),
            "validation/ema": group(entry, "val_ema"),
        }
        if entry["kind"] == "train":
            groups["training"] = {name: entry[name] for name in ("lr", "images_per_s")}
        with self._errors_reported():
            for name, values in groups.items():
                for key, value in values.items():
                    if value is not None and self._writer:
                        self._writer.add_scalar(f"{name}/{key}", value, entry["images"])
            self._flush()

    def image(self, tag: str, images: int, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        """Write an image (height, width, 3) of 8 bits."""
        with self._errors_reported():
            if self._writer:
                self._writer.add_image(tag, pixels, images, dataformats="HWC")
            self._flush()

    def close(self) -> None:
        """Close the file; nothing is written after that."""
        with self._errors_reported():
            writer, self._writer = self._writer, None
            if writer:
                writer.close()
        if threading.excepthook is self._hook:
            threading.excepthook = self._print_error

    def _print_other_errors(self, error: threading.ExceptHookArgs) -> None:
        """Print no traceback for the thread of the writer: `flush` raises its error again."""
        if type(error.thread).__name__ != "_AsyncWriterThread":
            self._print_error(error)

    def _flush(self) -> None:
        """Write everything now: TensorBoard shows it at once, and errors are reported here."""
        if self._writer:
            self._writer.flush()

    @contextmanager
    def _errors_reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            self._say(
                f"the TensorBoard log in {self.folder} cannot be written "
                f"({error.strerror or error}); training continues without it"
            )


def summary_writer() -> Any:
    """Return the class SummaryWriter. Raises UserError if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "train.loggers needs the package tensorboard; install it with "
            "pip install 'viceversa[tensorboard]'",
            option="train.loggers",
        ) from None
    return SummaryWriter
