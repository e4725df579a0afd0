"""The progress bar of training is complete at any width and advances at every step."""

from __future__ import annotations

import io
import os
import pty
import re
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from viceversa.terminal import duration
from viceversa.training import log as log_module
from viceversa.training.log import Log
from viceversa.training.progress_bar import TrainingBar

LOSSES = [
    f"{name}_{direction} 0.123"
    for name in ("g_gan", "g_cycle", "g_identity", "d_real", "d_fake")
    for direction in ("ab", "ba")
]


def rendered_lines(width: int, done: int = 1200, epoch: int = 12, epochs: int = 200) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    bar = TrainingBar(20_000, 0, epochs, console)
    bar._began -= 3700  # an hour ago
    bar.done, bar.epoch, bar.losses = done, epoch, ["1.5 images/s", *LOSSES]
    console.print(bar._drawn())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 300])
def test_the_bar_shows_epoch_elapsed_and_remaining_time_at_any_width(width: int) -> None:
    line, *losses = rendered_lines(width)
    # 1200 of 20000 images took 3700 s: the other 18800 take 57967 s
    assert "12/200" in line and "6%" in line and "1:01:40<16:06:07" in line, line
    assert ("epoch 12/200" in line) == (width >= 60)
    assert all(len(one) <= width for one in [line, *losses])
    assert re.findall(r"\S+_\S+ 0\.123", " ".join(losses)), losses
    assert all(loss in " ".join(losses) for loss in LOSSES) or width < 40


def test_no_remaining_time_before_the_first_step() -> None:
    assert "<-:--" in rendered_lines(80, done=0)[0]


def test_durations() -> None:
    assert [duration(s) for s in (0, 61, 3600, 100_000)] == ["0:00", "1:01", "1:00:00", "27:46:40"]


def test_the_bar_of_a_log_advances_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a pseudo-terminal, before the first log line."""
    leader, follower = pty.openpty()
    with open(follower, "w") as terminal:
        monkeypatch.setattr(log_module.sys, "stdout", terminal)  # type: ignore[attr-defined]
        log = Log(tmp_path, total=100, done=0, every=1000, epochs=10)
        for _ in range(7):
            log.add(1, 1, 0.1, {"g": torch.zeros(())}, {})
        assert log._bar is not None and log._bar.done == 7
        time.sleep(0.5)
        output = os.read(leader, 100_000).decode()
        log.close()
        monkeypatch.undo()
    os.close(leader)
    assert "7%" in output and "1/10" in output
