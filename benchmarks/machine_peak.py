"""Describe a machine and measure its peak rates: matrix products, memory, kernel launches.

Each rate is the best of several measurements, which other processes on the machine affect least.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from viceversa.runtime.device import synchronized_time

REPEATS = 3  # of each measurement per turn
SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}  # sizes of the matrices
MOVED = 2**29  # bytes to copy: more than the processor cache
LAUNCHES = 10_000
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # instruction sets for matrix products


class Peaks:
    """Measures the peak rates of a device."""

    def __init__(self, device: str, precisions: Sequence[str]):
        self.device = torch.device(device)
        self.numbers = torch.ones(MOVED // 4, device=self.device)
        self.copies = torch.empty_like(self.numbers)
        self.products = {
            (precision, side): _products(precision, side, self.device)
            for precision in precisions
            for side in SIDES.get(self.device.type, SIDES["cpu"])
        }

    @torch.inference_mode()
    def measured(self) -> dict[str, float]:
        """Return FLOP/s by precision, bytes/s, and on a GPU the seconds of a kernel launch."""
        rates: dict[str, float] = {}
        for (precision, side), products in self.products.items():
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = (
                precision == "tf32"
            )
            rate = 2 * side**3 / min(self._fastest(product) for product in products)
            rates[precision] = max(rate, rates.get(precision, 0.0))
        copied = self._fastest(lambda: self.copies.copy_(self.numbers))
        changed = self._fastest(lambda: self.numbers.mul_(1))
        rates["bytes"] = 2 * MOVED / min(copied, changed)  # one read and one write each
        if self.device.type == "cuda":
            rates["launch_s"] = self._fastest(_launch) / LAUNCHES
        return rates

    def _fastest(self, work: Callable[[], object]) -> float:
        """Return the seconds of the fastest of some repeats, after a warm-up."""
        seconds = []
        for _ in range(REPEATS + 1):
            began = synchronized_time(self.device)
            work()
            seconds.append(synchronized_time(self.device) - began)
        return min(seconds[1:])


def best(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the best of each value: the highest rates, the shortest launch."""
    return {
        name: (min if name == "launch_s" else max)(one[name] for one in measured)
        for name in (measured[0] if measured else {})
    }


def machine(device: str) -> dict[str, Any]:
    """Describe the processor, its cores and instruction sets, and the GPU, if there is one."""
    about: dict[str, Any] = {
        "architecture": platform.machine(),
        "cpu": platform.processor(),
        "cores": os.cpu_count(),
    }
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    parts = [line.partition(":") for line in lines]
    known = {key.strip(): value.strip() for key, _, value in parts}
    about["cpu"] = known.get("model name", about["cpu"])
    about["flags"] = [flag for flag in FLAGS if flag in known.get("flags", "").split()]
    if device.startswith("cuda"):
        about["gpu"] = torch.cuda.get_device_name(device)
        about["capability"] = ".".join(map(str, torch.cuda.get_device_capability(device)))
    return about


def _products(precision: str, side: int, device: torch.device) -> list[Callable[[], object]]:
    """Return two implementations of a square product: matrix product and 1x1 convolution.

    On some processors, the convolution is much faster than the matrix product.
    """
    dtype = HALVES.get(precision, torch.float32)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    image, weight = a.view(1, side, -1, 32), b.view(side, side, 1, 1)
    return [lambda: torch.mm(b, a), lambda: F.conv2d(image, weight)]


def _launch() -> None:
    for _ in range(LAUNCHES):
        torch.cuda._sleep(0)
