"""Saves that are killed at any instant, and what is left of them."""

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

NUMBERS = 1_000_000  # of four bytes
KEEP = 3
SAVES = 5  # at most, until a kill
State = dict[str, Any]


def killed(save: Callable[[State, int], object], first: int, rng: random.Random) -> int:
    """Save one state after another until a kill -9; return the number of the last complete save.

    The instant is chosen by the time that saves take here, so that a busy machine is hit as well.
    """

    def work(pipe: int) -> None:
        numbers = torch.empty(NUMBERS)
        for number in itertools.count(first):
            save({"images": number, "numbers": numbers.fill_(number)}, number)
            os.write(pipe, struct.pack("<q", number))

    child = fork(work)
    said, began, seconds = b"", time.monotonic(), 0.01
    for _ in range(rng.randrange(SAVES)):
        said += os.read(child.pipe, 8)
        began, seconds = time.monotonic(), time.monotonic() - began
    time.sleep(rng.uniform(0, seconds))
    child.kill()
    assert child.status == -9, "the child ended by itself"
    said += child.output()
    return int(struct.unpack("<q", said[-8:])[0]) if said else first - 1


def kills(folder: Path, trials: int, seed: int) -> dict[str, int]:
    """How often something was lost: all of it is 0, but for `saves` and `within_a_save`."""
    rng = random.Random(seed)
    tally = dict.fromkeys(
        ("saves", "within_a_save", "unreadable", "went_back", "too_few", "too_many", "left_over"), 0
    )
    checkpoints, newest, there = Checkpoints(folder, KEEP), 0, 0
    for _ in range(trials):
        acknowledged = killed(checkpoints.save, newest + 1, rng)
        tally["saves"] += acknowledged - newest
        files = checkpoints.files()
        whole = [path for path in files if _number(path) == int(path.stem)]
        tally["unreadable"] += len(files) - len(whole)
        tally["too_few"] += len(whole) < min(KEEP, acknowledged)
        # What is too old goes when a save is done; each kill may leave one more.
        tally["too_many"] += len(files) > 1 + (KEEP if acknowledged > newest else there)
        there = len(files)
        found = checkpoints.latest(lambda text: None) if whole else None
        newest = found[0]["images"] if found else 0
        tally["went_back"] += newest < acknowledged
        tally["within_a_save"] += any(folder.glob("*.tmp"))
        checkpoints.clean()
        tally["left_over"] += len(list(folder.iterdir())) - len(files) if folder.exists() else 0
    return tally


def naive_kills(folder: Path, trials: int, seed: int) -> int:
    """How often a state is lost that is written straight to its place."""
    rng = random.Random(seed)
    path, newest, lost = folder / "latest.pt", 0, 0
    for _ in range(trials):
        acknowledged = killed(lambda state, number: torch.save(state, path), newest + 1, rng)
        newest = 0
        with suppress(Exception):
            newest = int(torch.load(path, weights_only=True)["images"])
        lost += newest < acknowledged or (path.exists() and newest == 0)
        newest = max(newest, acknowledged)
    return lost


def _number(path: Path) -> int:
    """What a checkpoint says its number is, if all of it is that number's; else -1."""
    try:
        state = load_state(path)
    except UserError:
        return -1
    same = bool((state["numbers"] == state["images"]).all())
    return int(state["images"]) if same else -1
