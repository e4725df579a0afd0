"""What a worker of train_speed.py is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Job:
    """What a worker is for: a step of ours or of the reference, the machine's peak, the loader."""

    kind: str
    method: str = "pix2pix"
    device: str = "cpu"
    threads: int | None = None
    size: int = 256
    batch: int = 1
    width: int = 64
    precision: str = "fp32"
    speed: dict[str, Any] = field(default_factory=dict)
    per_turn: int = 1
    """Steps of a turn; the seconds are those of one."""
    precisions: tuple[str, ...] = ()
    """Those whose peak is measured."""
    path: str = ""
    """The reference's checkout, or the data set."""
