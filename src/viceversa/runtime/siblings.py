"""Processes on the same machine that train together, and one of them that was stopped.

A process that the system has stopped can't end by itself, and no signal but SIGKILL reaches it:
without its launcher it would be left behind for good, and torchrun waits half a minute for it.
"""

from __future__ import annotations

import os
import platform
import signal
from pathlib import Path
from typing import NamedTuple


class Sibling(NamedTuple):
    """A process, told from another that has its number later."""

    machine: str
    number: int
    began: str


def this() -> Sibling:
    """The process at hand."""
    return Sibling(platform.node(), os.getpid(), _state(os.getpid())[1])


def end_stopped(siblings: list[Sibling]) -> list[int]:
    """Kill those on this machine that were stopped; their numbers. Linux alone tells of it."""
    ended = []
    for one in siblings:
        state, began = _state(one.number)
        here = one.machine == platform.node() and one.number != os.getpid()
        if here and state == "T" and began == one.began:
            os.kill(one.number, signal.SIGKILL)
            ended.append(one.number)
    return ended


def _state(number: int) -> tuple[str, str]:
    """What a process does (T: stopped), and when it began; empty where the system doesn't say."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""
