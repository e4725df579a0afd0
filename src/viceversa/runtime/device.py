"""Devices: selection, backend settings, memory and time. Inference needs nothing else."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from ..errors import UserError

OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "alloc_failed",
    "bad_alloc",
    "could not create a memory",
    "storage size calculation overflowed",
    "integer multiplication overflow",
)


def prepare_device(
    name: str = "auto",
    tf32: bool = False,
    deterministic: bool = False,
    flush_denormals: bool = True,
) -> torch.device:
    """Return a device that works, and set torch's backends for this process.

    Args:
        name: `auto` (CUDA if available, else CPU) or the name of a torch device.
        tf32: Whether matrix products and convolutions on a GPU round to TF32.
        deterministic: Whether only deterministic algorithms are used.
        flush_denormals: Whether the CPU rounds denormal numbers to 0.

    Raises:
        UserError: The device is not available.
    """
    device = usable_device(name)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required by cuBLAS
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic  # image sizes rarely change in training
    # By default, torch lets convolutions round to TF32, but not matrix products.
    tf32 = tf32 and not deterministic
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    if deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(deterministic)  # takes a second: it imports inductor
    torch.set_flush_denormal(flush_denormals)
    return device


def usable_device(name: str) -> torch.device:
    """Return a device by its name, or `auto`. Raises UserError if it is not available."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with warnings.catch_warnings(action="ignore"):
            device = torch.device(name)
            torch.zeros(1, device=device).add_(1).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        # For device types that this build of torch lacks, the message lists dispatch keys.
        short = len(str(error)) <= 80 and not isinstance(error, ImportError)
        why = f" ({error})" if short else ""
        raise UserError(
            f"the device {name!r} is not available{why}; available: {', '.join(_available())}",
            option="device",
        ) from None
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # streams and graphs are created on the current device
    return device


def local_device(name: str, local: int, count: int) -> str:
    """Return the device of the process with the number `local` of `count` on its machine.

    Each process has its own GPU; if there are fewer GPUs, processes share them.
    """
    if count > 1 and name in ("auto", "cuda") and (found := gpus()):
        return found[local % len(found)]
    return name


def gpus() -> list[str]:
    """Return the names of the CUDA devices."""
    available = torch.cuda.is_available()
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] if available else []


def _available() -> list[str]:
    names = ["cpu", *gpus()]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says that the memory of the device or the machine is used up."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(one in str(error).lower() for one in OUT_OF_MEMORY)
    )


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that a new process can use on a device; None if that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration, ValueError):
        return None
    own = free_in_group(Path("/sys/fs/cgroup"))
    return free if own is None else min(free, own)


def free_in_group(folder: Path) -> int | None:
    """Return the free bytes of a container (control group, version 2); None without a limit.

    Cached files count as free, as in MemAvailable: the kernel drops them when needed.
    """
    try:
        limit, used, counts = (
            (folder / name).read_text() for name in ("memory.max", "memory.current", "memory.stat")
        )
        if limit.strip() == "max":
            return None
        kinds = dict(line.split() for line in counts.splitlines())
        cached = sum(int(kinds.get(kind, 0)) for kind in ("active_file", "inactive_file"))
        return min(max(int(limit) - int(used) + cached, 0), int(limit))
    except (OSError, ValueError):
        return None


def peak_memory(device: torch.device) -> int:
    """Return the largest number of bytes that this process held at once, on the GPU or in RAM."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:  # getrusage would include the peak of the parent process
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        import resource  # not on every system

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_search_memory(device: torch.device) -> None:
    """Reset the peak of `peak_memory` on a GPU.

    In the first step, cuDNN tries the algorithms of each convolution, and some need much memory.
    Later steps use the selected algorithms.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def synchronized_time(device: torch.device) -> float:
    """Return the time in seconds after the device has finished all work that was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def memory_of(call: Callable[[], object], device: torch.device) -> int | None:
    """Return the bytes by which the memory of this process grows during a call.

    Returns:
        The bytes at the peak; None if they cannot be measured on this system.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = int(torch.cuda.memory_allocated(device))
    else:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        except OSError:
            return None
        before = peak_memory(device)
    call()
    return peak_memory(device) - before
