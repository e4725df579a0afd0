"""The job of a worker of train_speed.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Job:
    """Job of a worker: steps of this package or of the reference, peak rates, or the loader."""

    kind: str
    method: str = "pix2pix"
    """pix2pix or cyclegan, with the settings of the reference; or another recipe."""
    device: str = "cpu"
    threads: int | None = None
    size: int = 256
    batch: int = 1
    width: int = 64
    precision: str = "fp32"
    speed: dict[str, Any] = field(default_factory=dict)
    per_turn: int = 1
    """Steps per turn; times are per step."""
    precisions: tuple[str, ...] = ()
    """Precisions whose peak rates are measured."""
    path: str = ""
    """Checkout of the reference, or the dataset."""
