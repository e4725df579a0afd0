"""What whole runs leave, and runs that are cut off."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from viceversa import training
from viceversa.build import RunConfig
from viceversa.checkpoint import load_state
from viceversa.report import Report


def interrupted(patch: pytest.MonkeyPatch, at: int, config: RunConfig) -> None:
    """Start a run that dies right after so many images."""
    step = Report.step

    def dying(self: Report, *arguments: Any) -> None:
        step(self, *arguments)
        if self.done >= at:
            raise RuntimeError("power cut")

    with patch.context() as patched:
        patched.setattr(Report, "step", dying)
        with pytest.raises(RuntimeError, match="power cut"):
            training.train(config)


def stopping(patch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Send SIGTERM to this process after a number of images, which the result sets; 0: never."""
    at = [0]
    step = Report.step

    def stepping(self: Report, *arguments: Any) -> None:
        step(self, *arguments)
        if self.done == at[0]:
            os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr(Report, "step", stepping)
    return lambda images: at.__setitem__(0, images)


def newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("*.safetensors"))


def state_of(run: Path) -> dict[str, Any]:
    """Everything in the last checkpoint but the settings, which name the folder."""
    found = load_state(newest(run))
    found.pop("sections")
    return found


def same(one: Any, two: Any) -> bool:
    """Equality to the bit, through tables and lists of tensors."""
    if isinstance(one, Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)
