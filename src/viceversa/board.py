"""A run's files for TensorBoard. Each line is written at once: no thread is there that can hang."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from .errors import UserError

Numbers = Mapping[str, float | None]
PARTS = (
    "tensorboard.compat.proto.event_pb2", "tensorboard.compat.proto.summary_pb2",
    "tensorboard.summary.writer.record_writer",
)  # fmt: skip
NAME = "events.out.tfevents"  # TensorBoard looks for this in a file's name


class Board:
    """A run's losses, measures and pictures for TensorBoard, by images seen.

    Raises UserError where TensorBoard is not installed. After that nothing raises: what can't be
    written is told once, and the board is silent from then on.
    """

    def __init__(self, folder: Path, done: int = 0, say: Callable[[str], None] = lambda text: None):
        """`done`: images seen before; what earlier files say of later ones no longer counts."""
        events, summaries, records = tensorboard()
        self.folder, self._say, self._failed = folder, say, False
        self._events, self._summaries = events, summaries
        self._file: BinaryIO | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _fresh(folder)
            self._records = records.RecordWriter(self._file)
        except OSError as error:
            self._give_up(error)
        self._write(self._events.Event(file_version="brain.Event:2"))
        start = self._events.SessionLog(status=self._events.SessionLog.START)
        # Of a run that begins anew, the pictures from before its first step are drawn anew, too.
        self._write(self._events.Event(session_log=start, step=done + 1 if done else 0))

    def line(self, entry: Mapping[str, Any]) -> None:
        """The numbers of a line of the log, by images seen; None is left out.

        `losses/g_l1`, `gradients/generator`, `training/lr`; `validation/l1`, and of averaged
        weights `validation/averaged/l1`.
        """
        measured = entry.get("validation", {})
        groups: dict[str, Numbers] = {
            "losses": entry.get("losses", {}),
            "gradients": entry.get("gradients", {}),
            "training": {name: entry.get(name) for name in ("lr", "images_per_s")},
            "validation": measured.get("raw", {}),
            "validation/averaged": measured.get("averaged", {}),
        }
        self._numbers(entry["images"], {
            f"{group}/{name}": value
            for group, values in groups.items() for name, value in values.items()
        })  # fmt: skip

    def picture(self, name: str, images: int, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        """A picture of a moment: (h, w, 3) of 8 bits."""
        if self._file is None:
            return
        held = io.BytesIO()
        try:
            Image.fromarray(pixels).save(held, "PNG")
        except (OSError, ValueError, TypeError, MemoryError) as error:
            self._give_up(error)
            return
        image = self._summaries.Summary.Image(
            height=pixels.shape[0], width=pixels.shape[1], colorspace=3,
            encoded_image_string=held.getvalue(),
        )  # fmt: skip
        self._summary(images, [self._summaries.Summary.Value(tag=name, image=image)])

    def close(self) -> None:
        """Close the file; what is told after that is not written."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._tell(error)

    def _numbers(self, images: int, values: Numbers) -> None:
        made = self._summaries.Summary.Value
        known = {name: float(value) for name, value in values.items() if value is not None}
        if known:
            self._summary(images, [made(tag=k, simple_value=v) for k, v in known.items()])

    def _summary(self, images: int, values: list[Any]) -> None:
        summary = self._summaries.Summary(value=values)
        self._write(self._events.Event(summary=summary, step=images))

    def _write(self, event: Any) -> None:
        if self._file is None:
            return
        event.wall_time = time.time()
        try:
            if not Path(self._file.name).exists():  # else the rest would go where nobody finds it
                raise FileNotFoundError("it was removed")
            self._records.write(event.SerializeToString())
            self._records.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._tell(error)
        self.close()

    def _tell(self, error: Exception) -> None:
        """Say it, the first time."""
        if self._failed:
            return
        self._failed = True
        reason = getattr(error, "strerror", None) or str(error)
        self._say(
            f"TensorBoard's file in {self.folder} can't be written ({reason}); training goes on "
            "without it"
        )


def tensorboard() -> tuple[Any, Any, Any]:
    """What of TensorBoard writes its files; it tells no types. Raises UserError where it is not."""
    try:
        events, summaries, records = map(import_module, PARTS)
    except ImportError:
        raise UserError(
            "train.board: TensorBoard's files need the package tensorboard; pip install "
            "'viceversa[board]'"
        ) from None
    return events, summaries, records


def _fresh(folder: Path) -> BinaryIO:
    """A new file whose name comes after those that lie there: TensorBoard reads them in order."""
    now, number = int(time.time()), 0
    while True:
        try:
            return (folder / f"{NAME}.{now:010d}.{number:04d}").open("xb")
        except FileExistsError:
            number += 1
