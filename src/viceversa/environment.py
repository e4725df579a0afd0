"""Environment variables and settings of the process that must be set before torch is imported."""

from __future__ import annotations

import ctypes
import os
import platform
import secrets
from typing import NamedTuple

TORCHRUN = "RANK", "WORLD_SIZE", "LOCAL_RANK"
SRUN = "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"
SPINS = "1000"
NO_REPORTS = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime would send names and hashes of models
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
}
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # the numbers of mallopt's parameters (mallopt(3))


def limit_thread_spinning() -> None:
    """Limit the time that OpenMP threads spin while they wait, unless the user has set it.

    The default is long. If other processes use the same cores, each of the many short waits of a
    step then lasts until the system preempts a spinning thread. No spinning at all is slower for
    small networks, whose waits are the shortest.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


def variable(name: str, default: str) -> str:
    """Return an environment variable, or the default if it is not set or empty."""
    return os.environ.get(name) or default


def is_distributed() -> bool:
    """Return whether this process is one of several that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def rank() -> int:
    """Return the rank of this process; 0 without torchrun."""
    return int(os.environ["RANK"]) if is_distributed() else 0


class Launched(NamedTuple):
    """Rank of this process among the processes that a launcher started to share the work."""

    rank: int = 0
    size: int = 1
    """Number of processes."""
    local: int = 0
    """Rank on this machine."""


def launched() -> Launched:
    """Return the rank of this process under torchrun or srun; without them, rank 0 of 1.

    In a SLURM job script, which runs only once, the variables of the job are set; srun sets the
    variables of a step.
    """
    for rank, size, local in TORCHRUN, SRUN:
        if rank in os.environ and size in os.environ:
            values = os.environ[rank], os.environ[size], os.environ.get(local, "0")
            return Launched(*map(int, values))
    return Launched()


def disable_usage_reports() -> None:
    """Disable the usage reports of packages to their vendors, unless the user has allowed them.

    The packages read these variables when they are imported.
    """
    for name, value in NO_REPORTS.items():
        os.environ.setdefault(name, value)


def prepare_ray(local: bool) -> None:
    """Create the token of a local cluster in memory; by default, Ray stores it in the user's home.

    Args:
        local: Whether this process starts the cluster.
    """
    if local and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def keep_freed_memory() -> bool:
    """Keep freed memory in the process, unless the user has set it; return whether it is kept.

    By default glibc returns every large block to the system at once, and the next block consists
    of new pages that the system clears first; a training step and a band of a large image free and
    allocate gigabytes. The peak memory of training does not grow; that of bands does (from 0.9 to
    1.7 GB at most for a width of 12,000 pixels), which their estimate includes. glibc only.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, -1))
