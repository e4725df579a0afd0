"""What has to be set before torch is loaded, so that `runtime` comes too late for it."""

from __future__ import annotations

import os

SPINS = "1000"


def let_waiting_threads_sleep() -> None:
    """Threads of OpenMP that wait for each other spin but briefly, unless the user says else.

    By default they spin for long: on a machine that does anything besides, each of a step's many
    short waits then lasts until the system takes the processor away from a thread that does
    nothing. Not to spin at all is worse for small networks, whose waits are the shortest.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS
