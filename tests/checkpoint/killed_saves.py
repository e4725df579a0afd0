"""Processes that are killed at random instants while they save checkpoints."""

from __future__ import annotations

import itertools
import os
import random
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from support import fork

from viceversa.checkpoint import Checkpoints, load_state
from viceversa.errors import UserError

NUMBERS = 1_000_000  # float32
KEEP = 3
SAVES = 5  # maximum until a kill
State = dict[str, Any]


def save_until_killed(save: Callable[[State, int], object], first: int, rng: random.Random) -> int:
    """Save one state after another until a kill -9; return the number of the last complete save.

    The instant depends on the measured duration of a save, so kills hit saves on any machine.
    """

    def work(pipe: int) -> None:
        numbers = torch.empty(NUMBERS)
        for number in itertools.count(first):
            save({"images": number, "numbers": numbers.fill_(number)}, number)
            os.write(pipe, struct.pack("<q", number))

    child = fork(work)
    output, began, seconds = b"", time.monotonic(), 0.01
    for _ in range(rng.randrange(SAVES)):
        output += os.read(child.pipe, 8)
        began, seconds = time.monotonic(), time.monotonic() - began
    time.sleep(rng.uniform(0, seconds))
    child.kill()
    assert child.status == -9, "the child ended by itself"
    output += child.output()
    return int(struct.unpack("<q", output[-8:])[0]) if output else first - 1


def count_losses(folder: Path, trials: int, seed: int) -> dict[str, int]:
    """Count what was lost after kills; all counts except `saves` and `within_a_save` must be 0."""
    rng = random.Random(seed)
    counts = dict.fromkeys(
        ("saves", "within_a_save", "unreadable", "went_back", "too_few", "too_many", "left_over"), 0
    )
    checkpoints, newest, file_count = Checkpoints(folder, KEEP), 0, 0
    for _ in range(trials):
        acknowledged = save_until_killed(checkpoints.save, newest + 1, rng)
        counts["saves"] += acknowledged - newest
        files = checkpoints.files()
        intact = [path for path in files if _saved_number(path) == int(path.stem)]
        counts["unreadable"] += len(files) - len(intact)
        counts["too_few"] += len(intact) < min(KEEP, acknowledged)
        # Old checkpoints are removed after each complete save; each kill may leave one more.
        counts["too_many"] += len(files) > 1 + (KEEP if acknowledged > newest else file_count)
        file_count = len(files)
        found = checkpoints.latest(lambda text: None) if intact else None
        newest = found[0]["images"] if found else 0
        counts["went_back"] += newest < acknowledged
        counts["within_a_save"] += any(folder.glob("*.tmp"))
        checkpoints.clean()
        counts["left_over"] += len(list(folder.iterdir())) - len(files) if folder.exists() else 0
    return counts


def count_naive_losses(folder: Path, trials: int, seed: int) -> int:
    """Count lost states if they are written directly to their file (the control)."""
    rng = random.Random(seed)
    path, newest, lost = folder / "latest.pt", 0, 0
    for _ in range(trials):
        acknowledged = save_until_killed(
            lambda state, number: torch.save(state, path), newest + 1, rng
        )
        newest = 0
        with suppress(Exception):
            newest = int(torch.load(path, weights_only=True)["images"])
        lost += newest < acknowledged or (path.exists() and newest == 0)
        newest = max(newest, acknowledged)
    return lost


def _saved_number(path: Path) -> int:
    """Return the number that a checkpoint contains, or -1 if it is unreadable or inconsistent."""
    try:
        state = load_state(path)
    except UserError:
        return -1
    consistent = bool((state["numbers"] == state["images"]).all())
    return int(state["images"]) if consistent else -1
