"""What has to be set before torch is loaded, so that `runtime` comes too late for it."""

from __future__ import annotations

import ctypes
import os
import platform

SPINS = "1000"
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # the numbers of mallopt's parameters (mallopt(3))


def let_waiting_threads_sleep() -> None:
    """Threads of OpenMP that wait for each other spin but briefly, unless the user says else.

    By default they spin for long: on a machine that does anything besides, each of a step's many
    short waits then lasts until the system takes the processor away from a thread that does
    nothing. Not to spin at all is worse for small networks, whose waits are the shortest.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


def several() -> bool:
    """Whether this process is one of several that train together, as torchrun says."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def process() -> int:
    """The number of this process among those that train together; else 0."""
    return int(os.environ["RANK"]) if several() else 0


def keep_freed_memory() -> bool:
    """Memory that was freed stays with the process, unless the user says else; whether it does.

    By default every large tensor is given back to the system at once, and the next one is made of
    fresh pages that the system clears first: a step of training frees and takes gigabytes. For
    what trains; the most that is held at once is not more by it. GNU's C library alone.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, -1))
