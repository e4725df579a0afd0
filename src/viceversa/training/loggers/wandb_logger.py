"""Weights & Biases: metrics and images of a run, by images processed."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import wandb

from ...environment import variable
from ...run_log import Entry
from .base import About, save_id, saved_id, scalars


class WandbLogger:
    """Logs to the project WANDB_PROJECT (default: viceversa), in the mode WANDB_MODE."""

    def __init__(self, about: About):
        run_id = saved_id(about, "wandb") or uuid.uuid4().hex[:8]
        self._run: Any = wandb.init(
            project=variable("WANDB_PROJECT", "viceversa"),
            name=about.name,
            id=run_id,
            resume="allow",
            dir=about.folder,
            config=about.settings,
            allow_val_change=True,  # such as more epochs in a resumed run
            settings=wandb.Settings(console="off", silent=True),
        )
        save_id(about, "wandb", run_id)
        self._run.define_metric("images")
        self._run.define_metric("*", step_metric="images")
        self.address = self._run.url or f"offline, in {Path(self._run.dir).parent}"

    def log(self, entry: Entry) -> None:
        """Log the numbers of an entry."""
        if values := scalars(entry):
            self._run.log({"images": entry["images"], **values})

    def image(self, kind: str, images: int, path: str) -> None:
        """Log a PNG file."""
        self._run.log({"images": images, kind: wandb.Image(path)})

    def close(self) -> None:
        """Upload what is left, and finish."""
        self._run.finish()
