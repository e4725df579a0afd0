"""Identify the other processes of a run, and kill those on this machine that were stopped.

A process stopped by SIGSTOP does not react to its peers, and only SIGKILL ends it: it would stay
behind for ever, or for as long as torchrun waits before it kills (30 seconds).
"""

from __future__ import annotations

import os
import platform
import signal
from pathlib import Path
from typing import NamedTuple


class Peer(NamedTuple):
    """A process; `started` distinguishes it from a later one with the same number."""

    machine: str
    pid: int
    started: str


def current_process() -> Peer:
    """Return this process."""
    return Peer(platform.node(), os.getpid(), _state(os.getpid())[1])


def kill_stopped(peers: list[Peer]) -> list[int]:
    """Kill the stopped processes on this machine (Linux only); return their numbers."""
    killed = []
    for peer in peers:
        local = peer.machine == platform.node() and peer.pid != os.getpid()
        if local and _state(peer.pid) == ("T", peer.started):
            os.kill(peer.pid, signal.SIGKILL)
            killed.append(peer.pid)
    return killed


def _state(pid: int) -> tuple[str, str]:
    """Return the state of a process (T: stopped) and its start time; empty if not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""
