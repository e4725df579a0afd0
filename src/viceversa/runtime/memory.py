"""The memory of the machine and of its device."""

from __future__ import annotations

from pathlib import Path

import torch


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that the device's or the machine's memory is used up."""
    words = (
        "can't allocate memory", "not enough memory", "out of memory", "alloc_failed", "bad_alloc",
        "could not create a memory", "storage size calculation overflowed",
        "integer multiplication overflow",
    )  # fmt: skip
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(one in str(error).lower() for one in words)
    )


def free_memory(device: torch.device) -> int | None:
    """Bytes that a new run could have on a device; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        left = next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration, ValueError):
        return None
    return min([left, *_of_the_group()])


def _of_the_group() -> list[int]:
    """What the container's own limit leaves, where there is one (control groups, version 2)."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = ((folder / name).read_text() for name in ("memory.max", "memory.current"))
    except OSError:
        return []
    return [] if limit.strip() == "max" else [max(int(limit) - int(used), 0)]


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has held at once: on a GPU there, else in the machine."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:  # of this program alone; what getrusage says begins with the peak of who started it
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        import resource  # not everywhere

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
