"""What has to be set before torch is loaded, so that `runtime` comes too late for it."""

from __future__ import annotations

import os


def let_waiting_threads_sleep() -> None:
    """Threads of OpenMP that wait for each other sleep, unless the user's environment says else.

    By default they spin: on a machine that does anything besides, each of a step's many short waits
    then lasts until the system takes the processor away from a thread that does nothing.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
