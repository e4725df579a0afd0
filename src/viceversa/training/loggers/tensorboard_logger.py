"""TensorBoard: scalars and images by images processed, in RUN/tensorboard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from ...run_log import Entry
from .base import About, scalars

TAGS = {
    "loss/": "losses/",
    "grad_norm/": "gradients/",
    "val/": "validation/",
    "val_ema/": "validation/ema/",
}
TRAINING = ("lr", "images_per_s")  # tags in the group `training`


class TensorBoardLogger:
    """Writes a file of events; events of later steps in earlier files are dropped."""

    def __init__(self, about: About):
        folder = Path(about.folder) / "tensorboard"
        self.address = ""
        self._writer = EventFileWriter(str(folder))
        # A run that starts again draws the sample grid before its first step again.
        self._add(about.done + 1 if about.done else 0, SessionLog(status=SessionLog.START))

    def log(self, entry: Entry) -> None:
        """Write the numbers of an entry with tags such as `losses/g_l1`."""
        values = [
            Summary.Value(tag=tag, simple_value=value)
            for name, value in scalars(entry).items()
            if (tag := _tag(name, entry["kind"]))
        ]
        if values:
            self._add(entry["images"], Summary(value=values), entry["time"])

    def image(self, kind: str, images: int, path: str) -> None:
        """Write a PNG file as an image."""
        with Image.open(path) as image:
            width, height = image.size
        data = Path(path).read_bytes()
        image_value = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=data
        )
        self._add(images, Summary(value=[Summary.Value(tag=kind, image=image_value)]))

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _add(self, step: int, content: Any, at: float | None = None) -> None:
        field = "summary" if isinstance(content, Summary) else "session_log"
        event = Event(wall_time=time.time() if at is None else at, step=step, **{field: content})
        self._writer.add_event(event)
        self._writer.flush()  # TensorBoard shows it at once, and errors are raised here


def _tag(name: str, kind: str) -> str:
    if name in TRAINING:
        return f"training/{name}" if kind == "train" else ""
    prefix = next((prefix for prefix in TAGS if name.startswith(prefix)), "")
    return TAGS[prefix] + name.removeprefix(prefix) if prefix else ""
